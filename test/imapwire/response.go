// Package imapwire reads what an IMAP server says by the grammar of RFC 3501
// and RFC 9051 and of the extensions that imapd knows, and by nothing else:
// every octet that the grammar does not allow is an error. It is for tests.
package imapwire

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// A Response is one response.
type Response struct {
	Tag  string // the tag of a completion; "*" or "+"
	Kind string // in upper case: OK, NO, BAD, BYE, PREAUTH, FETCH, LIST, …; "" after "+"
	Num  uint32 // the number that stands before EXISTS, RECENT, EXPUNGE, FETCH, UIDFETCH

	Code     string  // response code of OK, NO, BAD, BYE, PREAUTH, or ""
	CodeArgs []Value // its arguments
	Text     string  // human text; base64 after "+"

	Args  []Value // of untagged data, in the order of the grammar
	Items []Item  // of FETCH and UIDFETCH

	Raw []byte
}

// An Item is one message data item.
type Item struct {
	Name  string // in upper case, with the section: BODY[1.HEADER.FIELDS (TO)]<0>
	Value Value
}

// Item returns the value of a FETCH's item.
func (r *Response) Item(name string) (Value, bool) {
	for _, item := range r.Items {
		if item.Name == name {
			return item.Value, true
		}
	}
	return Value{}, false
}

// A Reader reads responses.
type Reader struct {
	// UTF8: quoted strings may hold UTF-8, mailbox names are UTF-8 (RFC 9755).
	UTF8 bool
	// NUL: the text of a message may hold NUL (docs/VIOLATIONS.md).
	NUL bool
	// Loose: a THREAD without threads may end in a space, as Dovecot has it.
	Loose bool
	r     *bufio.Reader
}

// NewReader returns a Reader of a stream.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// Reset lets the reader go on with another stream, such as one under TLS or
// compression. What it had read ahead is lost.
func (r *Reader) Reset(from io.Reader) { r.r.Reset(from) }

// Buffered is the number of octets that were read ahead.
func (r *Reader) Buffered() int { return r.r.Buffered() }

// Read reads one response. At the end of the stream, between two responses,
// its error is io.EOF.
func (r *Reader) Read() (resp *Response, err error) {
	l := &lexer{r: r.r, utf8: r.UTF8, nul: r.NUL, loose: r.Loose}
	defer func() {
		if caught := recover(); caught != nil {
			thrown, ours := caught.(syntaxError)
			if !ours {
				panic(caught)
			}
			resp, err = nil, thrown.error
		}
	}()
	resp = l.response()
	resp.Raw = l.raw
	return resp, nil
}

// ReadAll reads a whole stream.
func ReadAll(r io.Reader) ([]*Response, error) { return NewReader(r).ReadAll() }

// ReadAll reads the stream to its end.
func (r *Reader) ReadAll() ([]*Response, error) {
	var all []*Response
	for {
		resp, err := r.Read()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, resp)
	}
}

func (l *lexer) response() *Response {
	switch l.peek() {
	case '+':
		l.want("+ ") // continue-req
		r := &Response{Tag: "+"}
		if l.peek() != '\r' {
			l.respText(r)
		}
		l.crlf()
		return r
	case '*':
		l.want("* ")
		return l.untagged()
	}
	r := &Response{Tag: l.run(func(c byte) bool { return isAstring(c) && c != '+' })}
	if r.Tag == "" {
		l.fail("expected a tag, got %q", l.peek())
	}
	l.sp()
	r.Kind = l.word()
	if r.Kind != "OK" && r.Kind != "NO" && r.Kind != "BAD" {
		l.fail("%s after a tag", r.Kind)
	}
	l.sp()
	l.respText(r)
	l.crlf()
	return r
}

// respText: a code, if any, and a text that is not empty.
func (l *lexer) respText(r *Response) {
	if l.eat('[') {
		l.respCode(r)
		l.want("] ")
	}
	r.Text = l.run(func(c byte) bool { return isText(c) || c >= 0x80 && l.utf8 })
	if r.Text == "" {
		l.fail("an empty text")
	}
}

func (l *lexer) untagged() *Response {
	if isDigit(l.peek()) {
		return l.numbered()
	}
	r := &Response{Tag: "*", Kind: l.word()}
	switch r.Kind {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		l.sp()
		l.respText(r)
	default:
		l.data(r)
	}
	l.crlf()
	return r
}

func (l *lexer) numbered() *Response {
	r := &Response{Tag: "*", Num: uint32(l.number(32).Num())}
	l.sp()
	r.Kind = l.word()
	switch r.Kind {
	case "EXISTS", "RECENT":
	case "EXPUNGE":
		l.notZero(r)
	case "FETCH", "UIDFETCH":
		l.notZero(r)
		l.sp()
		l.messageItems(r)
	default:
		l.fail("unknown response %s", r.Kind)
	}
	l.crlf()
	return r
}

func (l *lexer) notZero(r *Response) {
	if r.Num == 0 {
		l.fail("%s of message 0", r.Kind)
	}
}

// Line is the response without its line end and with literals as they came.
func (r *Response) Line() string { return strings.TrimSuffix(string(r.Raw), "\r\n") }
