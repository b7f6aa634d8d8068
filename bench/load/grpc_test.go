package main

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

const allow = "\x00\x00\x00\x00\x04\x0a\x00\x1a\x00"

// answering reads the message, and answers as gRPC does; body and status may depend on it.
func answering(answer func(body string) (message, status string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // The end of the run cut it off.
		}
		message, status := answer(string(body))
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte(message))
		w.Header().Set("Grpc-Status", status)
	}
}

// serveH2 listens on a unix socket with a real HTTP/2 server.
func serveH2(t *testing.T, server *http2.Server, handler http.Handler) endpoint {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go server.ServeConn(conn, &http2.ServeConnOpts{Handler: handler})
		}
	}()
	return endpoint{network: "unix", address: path}
}

func load(e endpoint) *grpcLoad {
	return &grpcLoad{
		endpoint: e, scheme: "http", authority: "postern", path: "/envoy.service.auth.v3.Authorization/Check",
		messages: []message{{body: []byte("question")}}, conns: 2, streams: 8, timeout: time.Second, expect: "allow",
	}
}

var short = timing{warmup: 20 * time.Millisecond, seconds: 150 * time.Millisecond}

func TestCountsRightAnswers(t *testing.T) {
	var asked, other atomic.Int64
	e := serveH2(t, &http2.Server{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.URL.Path != "/envoy.service.auth.v3.Authorization/Check" || r.Header.Get("Te") != "trailers" ||
			r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Grpc-Timeout") != "1000m" {
			other.Add(1)
		}
		answering(func(body string) (string, string) {
			if body != "\x00\x00\x00\x00\x08question" {
				other.Add(1)
			}
			asked.Add(1)
			return allow, "0"
		})(w, r)
	}))
	got, err := load(e).execute(short)
	if err != nil || got.Requests < 100 || got.Failed+got.Wrong > 0 || other.Load() > 0 || int64(got.Requests) > asked.Load() {
		t.Errorf("%+v %v, %d asked, %d unlike what was to be asked", got, err, asked.Load(), other.Load())
	}
	if got.Sent < 8*got.Requests || got.Received < 9*got.Requests || got.Latency.P50 <= 0 || got.Latency.Max < got.Latency.P99 {
		t.Errorf("%+v", got)
	}
}

func TestCountsWhatIsNotRight(t *testing.T) {
	for name, c := range map[string]struct {
		answer, status string
		failed         bool
	}{
		"a denial":       {"\x00\x00\x00\x00\x06\x0a\x02\x08\x07\x12\x00", "0", false},
		"nothing inside": {"\x00\x00\x00\x00\x00", "0", false},
		"a status":       {allow, "14", true},
		"no message":     {"", "0", true},
		"half a message": {allow[:7], "0", true},
		"compressed":     {"\x01" + allow[1:], "0", true},
	} {
		e := serveH2(t, &http2.Server{}, answering(func(string) (string, string) { return c.answer, c.status }))
		got, err := load(e).execute(short)
		if err != nil || (got.Failed > 0) != c.failed || (got.Wrong == got.Requests && got.Wrong > 0) == c.failed {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

func TestSendsLongMessagesThroughSmallWindows(t *testing.T) {
	var wrong atomic.Int64
	long := strings.Repeat("0123456789", 10_000)
	server := &http2.Server{MaxUploadBufferPerStream: 1 << 16, MaxUploadBufferPerConnection: 1 << 16, MaxConcurrentStreams: 3}
	e := serveH2(t, server, answering(func(body string) (string, string) {
		if body[5:] != long {
			wrong.Add(1)
		}
		return "\x00\x00\x03\x00\x08\x1a\x00\x0a\x00\x22\x80\x80\x0c" + strings.Repeat("x", 0x30000), "0"
	}))
	g := load(e)
	g.messages[0].body = []byte(long)
	got, err := g.execute(timing{warmup: 0, seconds: 400 * time.Millisecond})
	if err != nil || got.Requests == 0 || got.Failed > 0 || wrong.Load() > 0 {
		t.Errorf("%+v %v, %d came otherwise than sent", got, err, wrong.Load())
	}
}

func TestConnectsAgain(t *testing.T) {
	var answers atomic.Int64
	e := serveH2(t, &http2.Server{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answers.Add(1)%50 == 0 {
			// Makes the server say GOAWAY.
			w.Header().Set("Connection", "close")
		}
		answering(func(string) (string, string) { return allow, "0" })(w, r)
	}))
	got, err := load(e).execute(short)
	if err != nil || got.Requests < 100 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestCountsResets(t *testing.T) {
	e := serveH2(t, &http2.Server{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	got, err := load(e).execute(short)
	if err != nil || got.Requests > 0 || got.Failed == 0 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestKeepsItsRate(t *testing.T) {
	e := serveH2(t, &http2.Server{}, answering(func(string) (string, string) { return allow, "0" }))
	g := load(e)
	g.rate = 500
	got, err := g.execute(timing{warmup: 100 * time.Millisecond, seconds: 500 * time.Millisecond})
	if err != nil || got.Requests < 225 || got.Requests > 275 || got.Failed > 0 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestSpeaksTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(answering(func(string) (string, string) { return allow, "0" }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	target := strings.TrimPrefix(s.URL, "https://")
	e, err := newEndpoint(target, tlsFiles{ca: ca, serverName: "example.com"}, []string{"h2"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := load(e).execute(short); err != nil || got.Requests == 0 || got.Failed+got.Wrong > 0 {
		t.Errorf("%+v %v", got, err)
	}
	if e, err = newEndpoint(target, tlsFiles{ca: ca, serverName: "other.example"}, []string{"h2"}); err != nil {
		t.Fatal(err)
	}
	if _, err := load(e).execute(short); err == nil {
		t.Error("a certificate of another name was taken")
	}
}
