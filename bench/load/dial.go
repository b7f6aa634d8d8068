package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// endpoint is where the load goes, and how.
type endpoint struct {
	network, address string
	tls              *tls.Config
}

// tlsFiles are the flags of TLS: with a CA the connection is TLS, with a certificate mutual TLS.
type tlsFiles struct {
	ca, cert, key, serverName string
}

func newEndpoint(target string, files tlsFiles, protocols []string) (endpoint, error) {
	e := endpoint{network: "tcp", address: target}
	if path, isUnix := strings.CutPrefix(target, "unix:"); isUnix {
		e.network, e.address = "unix", strings.TrimPrefix(path, "//")
	} else if _, _, err := net.SplitHostPort(target); err != nil {
		return e, fmt.Errorf("--target %q is neither unix:/path nor host:port", target)
	}
	if files.ca == "" {
		if files.cert != "" || files.key != "" {
			return e, errors.New("--cert and --key need --ca")
		}
		return e, nil
	}
	pem, err := os.ReadFile(files.ca)
	if err != nil {
		return e, err
	}
	e.tls = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: files.serverName, NextProtos: protocols, MinVersion: tls.VersionTLS12}
	if !e.tls.RootCAs.AppendCertsFromPEM(pem) {
		return e, fmt.Errorf("%s holds no certificate", files.ca)
	}
	if e.tls.ServerName == "" {
		if e.network == "unix" {
			return e, errors.New("TLS over a unix socket needs --server-name")
		}
		e.tls.ServerName, _, _ = net.SplitHostPort(target)
	}
	if files.cert != "" {
		pair, err := tls.LoadX509KeyPair(files.cert, files.key)
		if err != nil {
			return e, err
		}
		e.tls.Certificates = []tls.Certificate{pair}
	}
	return e, nil
}

// dial opens one connection, with its TLS handshake done.
func (e endpoint) dial() (net.Conn, error) {
	conn, err := net.DialTimeout(e.network, e.address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if e.tls == nil {
		return conn, nil
	}
	secure := tls.Client(conn, e.tls)
	if err := secure.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := secure.Handshake(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if len(e.tls.NextProtos) > 0 && secure.ConnectionState().NegotiatedProtocol != e.tls.NextProtos[0] {
		return nil, errors.Join(fmt.Errorf("%s does not speak %s", e.address, e.tls.NextProtos[0]), conn.Close())
	}
	return secure, secure.SetDeadline(time.Time{})
}
