// Package mailtext turns what a message holds into text that a person reads:
// header fields with words of RFC 2047, parameters of RFC 2231, and text parts
// with their transfer encoding, character set and markup.
//
// Everything is decoded as it comes in the wild, as far as it can be, and
// nothing fails: what cannot be understood stays as it stands. Time is linear
// in the input, and memory is a few buffers of fixed size. The text is UTF-8
// where a character set was known; else its octets are passed on.
package mailtext

import (
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
)

// lookup returns how to decode a character set, nil when its octets are passed
// on: because they are UTF-8, or nobody knows the name. UTF-7 is refused: it
// hides text from every other reader of the message.
func lookup(name string) (enc encoding.Encoding, known bool) {
	switch name = strings.ToLower(strings.Trim(name, "\"' \t")); name {
	case "utf-8", "utf8", "us-ascii", "ascii", "x-utf_8j", "ansi_x3.4-1968":
		return nil, true
	case "", "utf-7", "unicode-1-1-utf-7":
		return nil, false
	case "ansi_x3.110-1983": // what some senders call Latin-1
		return charmap.ISO8859_1, true
	}
	for _, find := range []func() (encoding.Encoding, error){
		func() (encoding.Encoding, error) { return ianaindex.MIME.Encoding(name) },
		func() (encoding.Encoding, error) { return ianaindex.MIME.Encoding("cs" + name) },
		func() (encoding.Encoding, error) { return htmlindex.Get(name) },
	} {
		if enc, err := find(); err == nil && enc != nil && enc != encoding.Replacement {
			return enc, true
		}
	}
	return nil, false
}
