// Postern-load asks a server as often as it can answer, or at a given rate, and counts the answers that are right. It costs
// little itself: on one machine it must not be what is measured.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

func main() {
	if err := start(os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "postern-load:", err)
		}
		os.Exit(2)
	}
}

// common are the flags of both commands.
type common struct {
	target, placeholder    string
	tls                    tlsFiles
	conns                  int
	seconds, warmup, rate  float64
	cardinality            uint64
	sequence, gate, asJSON bool
}

func (c *common) add(flags *flag.FlagSet, conns int) {
	flags.StringVar(&c.target, "target", "", "unix:/path or host:port")
	flags.StringVar(&c.tls.ca, "ca", "", "PEM file of the CA: speak TLS")
	flags.StringVar(&c.tls.cert, "cert", "", "PEM file of the client certificate")
	flags.StringVar(&c.tls.key, "key", "", "PEM file of its key")
	flags.StringVar(&c.tls.serverName, "server-name", "", "the name the server's certificate must bear; the target's host unless said")
	flags.IntVar(&c.conns, "conns", conns, "connections")
	flags.Float64Var(&c.seconds, "seconds", 5, "measured time")
	flags.Float64Var(&c.warmup, "warmup", 1, "seconds before it")
	flags.Float64Var(&c.rate, "rate", 0, "requests a second (open loop); 0: as many as are answered")
	flags.StringVar(&c.placeholder, "placeholder", "", "text to replace in each request by a zero-padded number of the same width")
	flags.Uint64Var(&c.cardinality, "cardinality", 1, "how many numbers there are, from 0")
	flags.BoolVar(&c.sequence, "sequence", false, "take the numbers in order, not at random")
	flags.BoolVar(&c.gate, "gate", false, "print ready after the warm-up, and measure when a line comes on stdin")
	flags.BoolVar(&c.asJSON, "json", false, "print JSON")
}

func (c *common) timing() (timing, error) {
	t := timing{warmup: span64(c.warmup), seconds: span64(c.seconds), gate: c.gate}
	if c.conns < 1 || c.seconds <= 0 || c.warmup < 0 || c.rate < 0 {
		return t, errors.New("--conns and --seconds must be above 0, --warmup and --rate not below")
	}
	return t, nil
}

func span64(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func start(args []string) error {
	if len(args) == 0 {
		return errors.New("the first argument is grpc or http")
	}
	// What is left of garbage is small and short-lived; collecting it rarely costs nothing but memory.
	debug.SetGCPercent(800)
	switch args[0] {
	case "grpc":
		return startGrpc(args[1:])
	case "http":
		return startHTTP(args[1:])
	}
	return fmt.Errorf("%q is neither grpc nor http", args[0])
}

func startGrpc(args []string) error {
	var c common
	g := grpcLoad{scheme: "http", authority: "postern"}
	flags := flag.NewFlagSet("grpc", flag.ContinueOnError)
	c.add(flags, 4)
	flags.StringVar(&g.path, "path", "/envoy.service.auth.v3.Authorization/Check", "the method")
	flags.IntVar(&g.streams, "streams", 32, "calls at once on a connection")
	flags.StringVar(&g.expect, "expect", "allow", "allow, deny or any")
	timeout := flags.Int("timeout-ms", 0, "grpc-timeout of each call; 0: none")
	file := flags.String("messages", "", "file of messages, each behind its length (4 bytes, big-endian)")
	single := flags.Bool("single", false, "the file is one raw message")
	if err := flags.Parse(args); err != nil {
		return err
	}
	t, err := c.timing()
	if err != nil {
		return err
	}
	if g.expect != "allow" && g.expect != "deny" && g.expect != "any" || g.streams < 1 {
		return errors.New("--expect is allow, deny or any; --streams at least 1")
	}
	if g.endpoint, err = newEndpoint(c.target, c.tls, []string{"h2"}); err != nil {
		return err
	}
	if g.endpoint.tls != nil {
		g.scheme = "https"
	}
	if g.varying, err = newVarying(c.placeholder, c.cardinality, c.sequence); err != nil {
		return err
	}
	if g.messages, err = readMessages(*file, *single, c.placeholder); err != nil {
		return err
	}
	g.conns, g.rate, g.timeout = c.conns, c.rate, time.Duration(*timeout)*time.Millisecond
	limitThreads(c.rate)
	r, err := g.execute(t)
	if err != nil {
		return err
	}
	return r.print(c.asJSON)
}

func startHTTP(args []string) error {
	var c common
	var h httpLoad
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	c.add(flags, 64)
	file := flags.String("request", "", "file with the text of one HTTP/1.1 request")
	flags.IntVar(&h.status, "expect-status", 200, "the status that is right")
	if err := flags.Parse(args); err != nil {
		return err
	}
	t, err := c.timing()
	if err != nil {
		return err
	}
	if h.endpoint, err = newEndpoint(c.target, c.tls, []string{"http/1.1"}); err != nil {
		return err
	}
	if h.varying, err = newVarying(c.placeholder, c.cardinality, c.sequence); err != nil {
		return err
	}
	if h.request, err = readRequest(*file, c.placeholder); err != nil {
		return err
	}
	h.conns, h.rate = c.conns, c.rate
	limitThreads(c.rate)
	r, err := h.execute(t)
	if err != nil {
		return err
	}
	return r.print(c.asJSON)
}

// limitThreads: one thread is enough to saturate a server, and leaves it the other cores. The pacer sleeps in a second.
func limitThreads(rate float64) {
	threads := 1
	if rate > 0 {
		threads = 2
	}
	runtime.GOMAXPROCS(threads)
}
