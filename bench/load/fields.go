package main

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/net/http2/hpack"
)

// requestFields writes the header block of the requests of one connection. The first block puts the fields into the peer's
// table, as Envoy's encoder does; all that follow are the same few bytes, which only name them.
type requestFields struct {
	fields  []hpack.HeaderField
	buffer  bytes.Buffer
	encoder *hpack.Encoder
	steady  []byte
}

func newRequestFields(scheme, authority, path string, timeout time.Duration) *requestFields {
	f := &requestFields{fields: []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: scheme}, {Name: ":path", Value: path},
		{Name: ":authority", Value: authority}, {Name: "te", Value: "trailers"}, {Name: "content-type", Value: "application/grpc"},
	}}
	if timeout > 0 {
		f.fields = append(f.fields, hpack.HeaderField{Name: "grpc-timeout", Value: strconv.FormatInt(timeout.Milliseconds(), 10) + "m"})
	}
	f.encoder = hpack.NewEncoder(&f.buffer)
	return f
}

// tableSize follows SETTINGS_HEADER_TABLE_SIZE. A table too small to hold all the fields at once is not used at all, so that
// the steady block never changes it.
func (f *requestFields) tableSize(size uint32) {
	if size < 1024 {
		size = 0
	}
	f.encoder.SetMaxDynamicTableSize(min(size, 4096))
	f.steady = nil
}

func (f *requestFields) block() []byte {
	if f.steady != nil {
		return f.steady
	}
	first := f.encode()
	f.steady = f.encode()
	return first
}

func (f *requestFields) encode() []byte {
	f.buffer.Reset()
	for _, field := range f.fields {
		// Writing to a bytes.Buffer does not fail.
		_ = f.encoder.WriteField(field)
	}
	return bytes.Clone(f.buffer.Bytes())
}

// answerFields is what is looked for in headers and trailers; -1 where they do not hold it.
type answerFields struct {
	status, grpcStatus int
	message            string
}

// fieldReader reads header blocks of one connection. A block of nothing but one-byte references leaves the table as it is:
// its meaning is kept until a block comes that may change the table.
type fieldReader struct {
	decoder *hpack.Decoder
	found   answerFields
	kept    map[string]answerFields
}

func newFieldReader() *fieldReader {
	r := &fieldReader{kept: map[string]answerFields{}}
	r.decoder = hpack.NewDecoder(4096, r.take)
	return r
}

func (r *fieldReader) take(field hpack.HeaderField) {
	switch field.Name {
	case ":status":
		r.found.status = number(field.Value)
	case "grpc-status":
		r.found.grpcStatus = number(field.Value)
	case "grpc-message":
		r.found.message = field.Value
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

func (r *fieldReader) read(block []byte) (answerFields, error) {
	references := onlyReferences(block)
	if references {
		if found, ok := r.kept[string(block)]; ok {
			return found, nil
		}
	}
	r.found = answerFields{status: -1, grpcStatus: -1}
	if _, err := r.decoder.Write(block); err != nil {
		return r.found, err
	}
	if err := r.decoder.Close(); err != nil {
		return r.found, err
	}
	if references {
		r.kept[string(block)] = r.found
	} else {
		clear(r.kept)
	}
	return r.found, nil
}

// onlyReferences: every byte is an indexed field (RFC 7541, 6.1) whose index needs no second byte.
func onlyReferences(block []byte) bool {
	for _, octet := range block {
		if octet < 0x80 || octet == 0xff {
			return false
		}
	}
	return true
}
