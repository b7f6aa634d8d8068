// Grpc-go is what Postern is compared with: the smaller job, written by hand for one policy as one would in Go. It verifies no
// token, exchanges none, counts nothing, and knows no revocation; see bench/peers/README.md.
package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
)

type server struct {
	authv3.UnimplementedAuthorizationServer
	issuer, audience, metadataKey string
	routes                        *table
	owners                        map[string]string
}

// Check decides one request.
func (s *server) Check(_ context.Context, request *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	attributes := request.GetAttributes()
	http := attributes.GetRequest().GetHttp()
	f := finding{began: time.Now(), id: decisionID(), workload: attributes.GetSource().GetPrincipal(), ownerMatch: "none", audience: s.audience}

	path, _, _ := strings.Cut(http.GetPath(), "?")
	if !plain(path) {
		return f.deny(typev3.StatusCode_BadRequest, "bad_request"), nil
	}
	r, params := s.routes.match(http.GetMethod(), http.GetHost(), path)
	if r == nil {
		return f.deny(typev3.StatusCode_Forbidden, "no_route"), nil
	}
	f.route = r.id
	who, fault := s.readCaller(attributes)
	if fault != "" {
		return f.deny(typev3.StatusCode_Unauthorized, fault), nil
	}
	f.caller = who
	if !who.hasOneOf(r.granting) {
		return f.deny(typev3.StatusCode_Forbidden, "missing_role"), nil
	}
	if r.owner >= 0 {
		id := params[r.owner]
		f.resource = "sandbox:" + id
		if s.owners[id] != who.subject {
			f.ownerMatch = "no"
			return f.deny(typev3.StatusCode_Forbidden, "not_owner"), nil
		}
		f.ownerMatch = "yes"
	}
	return f.allow(http.GetHeaders()), nil
}

// decisionID is a UUID of version 7 (RFC 9562).
func decisionID() string {
	var id [16]byte
	_, _ = rand.Read(id[6:])
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(time.Now().UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:], id[:4])
	text[8] = '-'
	hex.Encode(text[9:], id[4:6])
	text[13] = '-'
	hex.Encode(text[14:], id[6:8])
	text[18] = '-'
	hex.Encode(text[19:], id[8:10])
	text[23] = '-'
	hex.Encode(text[24:], id[10:])
	return string(text[:])
}

func main() {
	if err := serve(); err != nil {
		log.Fatal(err)
	}
}

func serve() error {
	address := flag.String("listen", "127.0.0.1:9191", "unix:/path or host:port")
	file := flag.String("job", "job.json", "what to do")
	flag.Parse()
	j, err := readJob(*file)
	if err != nil {
		return err
	}
	routes, err := newTable(j)
	if err != nil {
		return err
	}
	network, place := "tcp", *address
	if path, isUnix := strings.CutPrefix(place, "unix:"); isUnix {
		network, place = "unix", path
	}
	listener, err := net.Listen(network, place)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, &server{issuer: j.Issuer, audience: j.Audience, metadataKey: j.MetadataKey, routes: routes, owners: j.Owners})
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		s.Stop()
	}()
	fmt.Println("ready")
	return s.Serve(listener)
}
