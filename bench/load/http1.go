package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// httpLoad is one run of HTTP/1.1 requests, one at a time on each connection, which is kept.
type httpLoad struct {
	endpoint endpoint
	request  message
	varying  varying
	conns    int
	rate     float64
	status   int
}

// readRequest reads the text of an HTTP/1.1 request. Where its head ends its lines with LF alone they get their CRLF.
func readRequest(file, placeholder string) (message, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return message{}, err
	}
	if !bytes.Contains(text, []byte("\r\n\r\n")) {
		head, body, whole := bytes.Cut(text, []byte("\n\n"))
		if !whole {
			return message{}, fmt.Errorf("%s: no empty line ends the request's head", file)
		}
		text = append(bytes.ReplaceAll(head, []byte("\n"), []byte("\r\n")), append([]byte("\r\n\r\n"), body...)...)
	}
	m := message{body: text, places: findPlaces(text, placeholder)}
	if placeholder != "" && len(m.places) == 0 {
		return m, fmt.Errorf("%s does not hold the placeholder %q", file, placeholder)
	}
	return m, nil
}

// lane is one connection.
type lane struct {
	run    *run
	load   *httpLoad
	counts *numbers
	tally  *tally
	work   <-chan int64
	conn   net.Conn
	in     *bufio.Reader
	out    []byte
	// The connection, for who ends the run.
	shown atomic.Pointer[net.Conn]
}

func (h *httpLoad) execute(t timing) (report, error) {
	r := newRun()
	var work chan int64
	if h.rate > 0 {
		work = make(chan int64, 1024)
	}
	lanes := make([]*lane, h.conns)
	for i := range lanes {
		lanes[i] = &lane{run: r, load: h, counts: newNumbers(h.varying, i, h.conns), tally: &tally{}, work: work}
		if err := lanes[i].open(); err != nil {
			return report{}, err
		}
	}
	var done sync.WaitGroup
	for _, l := range lanes {
		done.Go(l.keep)
	}
	if h.rate > 0 {
		done.Go(func() {
			pace(r, h.rate, func(due int64) bool {
				select {
				case work <- due:
					return true
				default:
					return false
				}
			})
		})
	}
	s, err := r.hold(t)
	r.phase.Store(over)
	close(r.closed)
	for _, l := range lanes {
		_ = (*l.shown.Load()).Close()
	}
	done.Wait()
	if err != nil {
		return report{}, err
	}
	tallies := make([]*tally, h.conns)
	for i, l := range lanes {
		tallies[i] = l.tally
	}
	return newReport(s, tallies), nil
}

func (l *lane) open() error {
	conn, err := l.load.endpoint.dial()
	if err != nil {
		return err
	}
	l.conn, l.in = conn, bufio.NewReaderSize(conn, 16<<10)
	l.shown.Store(&conn)
	return nil
}

func (l *lane) keep() {
	for !l.run.ended() {
		began := l.run.now()
		if l.work != nil {
			select {
			case began = <-l.work:
			case <-l.run.closed:
				return
			}
		}
		again, err := l.ask(began)
		if l.run.ended() || err == nil && again {
			continue
		}
		if err != nil {
			l.run.tellOnce("failure", "%v", err)
			if l.run.counting() {
				l.tally.failed++
			}
		}
		_ = l.conn.Close()
		for l.open() != nil && !l.run.ended() {
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// ask sends one request and reads its answer. It tells whether the connection may be used again.
func (l *lane) ask(began int64) (bool, error) {
	l.out = appendMessage(l.out[:0], &l.load.request, l.counts)
	if _, err := l.conn.Write(l.out); err != nil {
		return false, err
	}
	status, received, again, err := readResponse(l.in)
	if err != nil {
		return false, err
	}
	if l.run.counting() {
		l.tally.requests++
		l.tally.latency.add(uint64(l.run.now() - began))
		l.tally.sent += uint64(len(l.out))
		l.tally.received += uint64(received)
		if status != l.load.status {
			l.tally.wrong++
		}
	}
	if status != l.load.status {
		l.run.tellOnce("wrong answer", "status %d where %d is expected", status, l.load.status)
	}
	return again, nil
}

var errResponse = errors.New("not an HTTP/1.1 response")

// readResponse reads one answer, whose body is dropped: of a known length, in chunks, or none.
func readResponse(in *bufio.Reader) (status, received int, again bool, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, 0, false, err
	}
	if len(line) < 14 || string(line[:9]) != "HTTP/1.1 " {
		return 0, 0, false, errResponse
	}
	received = len(line)
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, false, errResponse
	}
	length, chunked, again := 0, false, true
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return 0, 0, false, err
		}
		received += len(line)
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		switch name, value, _ := bytes.Cut(line, []byte(":")); {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, 0, false, errResponse
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("connection")):
			again = !bytes.EqualFold(bytes.TrimSpace(value), []byte("close"))
		}
	}
	for chunked {
		if line, err = in.ReadSlice('\n'); err != nil {
			return 0, 0, false, err
		}
		received += len(line)
		size, parseErr := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 31)
		if parseErr != nil {
			return 0, 0, false, errResponse
		}
		chunked = size > 0
		length += int(size) + 2
		if _, err = in.Discard(int(size) + 2); err != nil {
			return 0, 0, false, err
		}
		received += int(size) + 2
		length = 0
	}
	n, err := in.Discard(length)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return status, received + n, again, err
}
