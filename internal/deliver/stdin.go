package deliver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"

	"peyk/internal/address"
	"peyk/internal/envelope"
	"peyk/internal/header"
	"peyk/internal/lmtp"
	"peyk/internal/status"
	"peyk/internal/sysexits"
)

// Letterbox delivers the message that in holds to each recipient, as a mail
// delivery agent does, and returns an exit status of sysexits(3): that of the
// first recipient who failed for good, EX_TEMPFAIL if any may yet succeed,
// since the caller can only repeat all or nothing. Lines may end in LF or
// CRLF, and a "From " line of mbox may come first. sender nil means what a
// Return-Path field says, else the null sender. A message of more than max
// octets is refused.
func (a *Agent) Letterbox(ctx context.Context, in io.Reader, words io.Writer, sender *string, max int64, recipients []string) int {
	r := &limited{r: newCRLF(in), left: max}
	m := &lmtp.Mail{Body: "8BITMIME", SMTPUTF8: true}
	var message io.Reader = r
	if sender != nil {
		m.Sender = *sender
	} else {
		buffered := bufio.NewReader(r)
		head, err := header.Read(buffered, maxHeader)
		if err != nil {
			return complain(words, "stdin", err)
		}
		m.Sender = returnPath(head)
		head.Remove("Return-Path") // RFC 5321 §4.4: it was the last step; ours takes its place
		message = io.MultiReader(bytes.NewReader(head.Append(nil)), buffered)
	}
	h, err := a.Begin(ctx, m)
	if err != nil {
		return complain(words, "stdin", err)
	}
	defer h.End()
	return deliverTo(ctx, h, message, words, recipients)
}

func returnPath(head *header.Header) string {
	a, err := address.ParsePath(head.Get("Return-Path"), true)
	if err != nil {
		return ""
	}
	return a.String()
}

func deliverTo(ctx context.Context, h lmtp.Handler, message io.Reader, words io.Writer, recipients []string) int {
	exit := sysexits.OK
	var accepted []string
	for _, name := range recipients {
		if err := h.Rcpt(ctx, envelope.Recipient{Address: name}); err != nil {
			exit = worse(exit, complain(words, name, err))
			continue
		}
		accepted = append(accepted, name)
	}
	if len(accepted) == 0 {
		return exit
	}
	for i, o := range h.Data(ctx, message, -1) {
		if o.Err != nil {
			exit = worse(exit, complain(words, accepted[i], o.Err))
		}
	}
	return exit
}

// worse keeps the more important of two exit statuses.
func worse(a, b int) int {
	if a == sysexits.TempFail || b == sysexits.TempFail {
		return sysexits.TempFail
	}
	if a != sysexits.OK {
		return a
	}
	return b
}

// complain says what is wrong and returns the exit status for it. The caller
// may show the words to the sender of the message, so they hold no paths.
func complain(words io.Writer, about string, err error) int {
	e := status.Of(err)
	fmt.Fprintf(words, "deliver: %s: %s\n", about, e.Text)
	return e.Exit()
}

// limited refuses more than a number of octets.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, status.New(552, "5.3.4", "message is too large").Because("", lmtp.ErrTooBig)
	}
	return n, err
}

// crlf turns lines of either kind into wire form, and drops a "From " line at
// the beginning.
type crlf struct {
	in    *bufio.Reader
	begun bool
	prev  byte
	lf    bool // a line feed is due
}

func newCRLF(in io.Reader) *crlf { return &crlf{in: bufio.NewReaderSize(in, 32<<10)} }

// Read implements io.Reader.
func (c *crlf) Read(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		if err := c.skipFrom(); err != nil {
			return 0, err
		}
	}
	n := 0
	for n < len(p) {
		if c.lf {
			c.lf = false
			p[n], c.prev = '\n', '\n'
			n++
			continue
		}
		if n > 0 && c.in.Buffered() == 0 {
			return n, nil
		}
		b, err := c.in.ReadByte()
		if err != nil {
			return n, err
		}
		if b == '\n' && c.prev != '\r' {
			b, c.lf = '\r', true
		}
		p[n], c.prev = b, b
		n++
	}
	return n, nil
}

func (c *crlf) skipFrom() error {
	start, err := c.in.Peek(len(fromLine))
	if err == io.EOF {
		return nil
	}
	if err != nil || !bytes.Equal(start, fromLine) {
		return err
	}
	for {
		_, err := c.in.ReadSlice('\n')
		if err != bufio.ErrBufferFull {
			return ignoreEOF(err)
		}
	}
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
