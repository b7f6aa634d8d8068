package main

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAsksOverHTTP1(t *testing.T) {
	ids := make(chan string, 1<<16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ids <- r.URL.Path
		if r.URL.Path == "/x/0001" {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = w.Write([]byte("body"))
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "request")
	if err := os.WriteFile(file, []byte("POST /x/0000 HTTP/1.1\nHost: a\nContent-Length: 2\n\nhi"), 0o600); err != nil {
		t.Fatal(err)
	}
	request, err := readRequest(file, "0000")
	if err != nil {
		t.Fatal(err)
	}
	for _, rate := range []float64{0, 300} {
		h := httpLoad{
			endpoint: endpoint{network: "tcp", address: strings.TrimPrefix(s.URL, "http://")}, request: request, rate: rate,
			varying: varying{width: 4, cardinality: 2, sequence: true}, conns: 4, status: 200,
		}
		got, err := h.execute(timing{warmup: 20 * time.Millisecond, seconds: 200 * time.Millisecond})
		if err != nil || got.Requests < 30 || got.Failed > 0 || got.Wrong == 0 || got.Wrong == got.Requests {
			t.Errorf("rate %v: %+v %v", rate, got, err)
		}
		if id := <-ids; id != "/x/0000" && id != "/x/0001" {
			t.Errorf("asked for %s", id)
		}
	}
}

func TestReadsResponses(t *testing.T) {
	for text, want := range map[string]struct {
		status int
		again  bool
	}{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc":                                      {200, true},
		"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n":             {403, false},
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n": {200, true},
	} {
		in := bufio.NewReader(strings.NewReader(text))
		status, received, again, err := readResponse(in)
		if err != nil || status != want.status || again != want.again || received != len(text) || in.Buffered() != 0 {
			t.Errorf("%q: %d %d %v %v", text, status, received, again, err)
		}
	}
	for _, broken := range []string{"", "HTTP/1.1 20", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "SSH-2.0-x 200 OK\r\n\r\n"} {
		if _, _, _, err := readResponse(bufio.NewReader(strings.NewReader(broken))); err == nil {
			t.Errorf("%q was taken for a response", broken)
		}
	}
}
