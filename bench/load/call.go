package main

// call is one slot of a connection: one request after the other, each on a stream of its own.
type call struct {
	stream uint32
	// Nanoseconds of the run's clock: in an open loop when it was due, else when it was written.
	began int64
	// What the peer lets us send on this stream, and what waits for that.
	window  int64
	pending []byte
	// The answer so far.
	status, grpcStatus int
	body               []byte
	got                verdict
	whole, opened      bool
}

func (c *call) reset(stream uint32, window int64) {
	*c = call{stream: stream, window: window, pending: c.pending[:0], body: c.body[:0], grpcStatus: -1}
}

// read takes one DATA frame of the answer. Most answers come whole in one, and are judged where they lie.
func (c *call) read(data []byte) {
	if len(data) == 0 {
		return
	}
	if c.whole {
		// A second message, or more than its length said.
		c.got = malformed
		return
	}
	if len(c.body) > 0 || !isWhole(data) {
		c.body = append(c.body, data...)
		if !isWhole(c.body) {
			return
		}
		data = c.body
	}
	c.whole = true
	c.got = readAnswer(data[grpcPrefix:])
}

const (
	// A gRPC message stands behind one byte (0: not compressed) and its length in four.
	grpcPrefix = 5
	// What an answer may hold at most: it is the stream's window, which therefore never needs to be opened further.
	answerLimit = 1 << 24
)

func isWhole(data []byte) bool {
	if len(data) < grpcPrefix || data[0] != 0 {
		return false
	}
	length := int(data[1])<<24 | int(data[2])<<16 | int(data[3])<<8 | int(data[4])
	return len(data) == grpcPrefix+length
}
