package main

import "encoding/binary"

// verdict is what a CheckResponse says to Envoy.
type verdict uint8

const (
	malformed verdict = iota
	allowed
	denied
)

// readAnswer reads an envoy.service.auth.v3.CheckResponse as far as its verdict: an allow is a status (field 1) whose code
// is absent or 0 with an ok_response (3); a denial is a status with another code and a denied_response (2). An answer
// that is neither, or is not well-formed at the top, is malformed: Envoy lets an empty one pass, this does not.
func readAnswer(body []byte) verdict {
	var hasStatus, hasOk, hasDenied bool
	var code uint64
	for len(body) > 0 {
		tag, n := binary.Uvarint(body)
		if n <= 0 {
			return malformed
		}
		body = body[n:]
		if tag&7 != 2 {
			if body = skipScalar(body, tag&7); body == nil {
				return malformed
			}
			continue
		}
		length, n := binary.Uvarint(body)
		if n <= 0 || uint64(len(body)-n) < length {
			return malformed
		}
		value := body[n : n+int(length)]
		body = body[n+int(length):]
		switch tag >> 3 {
		case 1:
			var ok bool
			if code, ok = statusCode(value); !ok {
				return malformed
			}
			hasStatus = true
		case 2:
			hasDenied = true
		case 3:
			hasOk = true
		}
	}
	switch {
	case hasStatus && code == 0 && hasOk && !hasDenied:
		return allowed
	case hasStatus && code != 0 && hasDenied && !hasOk:
		return denied
	}
	return malformed
}

// statusCode reads the code (field 1) of a google.rpc.Status.
func statusCode(body []byte) (uint64, bool) {
	var code uint64
	for len(body) > 0 {
		tag, n := binary.Uvarint(body)
		if n <= 0 {
			return 0, false
		}
		body = body[n:]
		switch tag & 7 {
		case 0:
			value, n := binary.Uvarint(body)
			if n <= 0 {
				return 0, false
			}
			if body = body[n:]; tag>>3 == 1 {
				code = value
			}
		case 2:
			length, n := binary.Uvarint(body)
			if n <= 0 || uint64(len(body)-n) < length {
				return 0, false
			}
			body = body[n+int(length):]
		default:
			if body = skipScalar(body, tag&7); body == nil {
				return 0, false
			}
		}
	}
	return code, true
}

// skipScalar skips a varint, fixed64 or fixed32; nil where it cannot.
func skipScalar(body []byte, wireType uint64) []byte {
	width := 0
	switch wireType {
	case 0:
		_, width = binary.Uvarint(body)
	case 1:
		width = 8
	case 5:
		width = 4
	}
	if width <= 0 || width > len(body) {
		return nil
	}
	// Never nil for what was skipped, even to the end.
	return body[width:len(body):len(body)]
}
