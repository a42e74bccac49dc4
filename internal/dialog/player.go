package dialog

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is the longest wait for a line or a handshake. It decides nothing
// but how long a broken server keeps a test waiting.
const patience = 60 * time.Second

// maxTranscript is how much of the talk an error shows, in bytes.
const maxTranscript = 16 << 10

type player struct {
	t          *testing.T
	script     *script
	dial       Dialer
	peers      []*peer
	current    *peer
	forbidden  []step // S! that await the end of the reply
	transcript transcript
}

// A peer is one connection to the server.
type peer struct {
	number int
	conn   net.Conn
	in     *bufio.Reader
	tag    string // first word of the last C: line, the IMAP tag
	last   string // the last C: line
	send   chan []byte
	sent   chan struct{} // closed when send is closed and drained
}

func (p *player) play() error {
	steps := p.script.steps
	for i, st := range steps {
		if err := p.step(st, steps[i+1:]); err != nil {
			return fmt.Errorf("%s:%d: %w", p.script.path, st.line, err)
		}
	}
	return nil
}

func (p *player) step(st step, next []step) error {
	if p.current == nil && st.verb != "connect" {
		if err := p.connect(""); err != nil {
			return err
		}
	}
	for range st.times {
		if err := p.once(st, next); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) once(st step, next []step) error {
	c := p.current
	switch st.verb {
	case "connect":
		return p.connect(st.text)
	case "use":
		return p.use(st.number)
	case "C:":
		c.last, c.tag = st.text, firstWord(st.text)
		p.note(c, "C:", st.text)
		c.queue(st.text + "\r\n")
	case "B:":
		p.note(c, "B:", fmt.Sprintf("%q", st.text))
		c.queue(st.text)
	case "S:":
		return p.expect(st, len(p.forbidden) > 0)
	case "S*":
		return p.expect(st, true)
	case "S!":
		return p.forbid(st, next)
	case "EOF":
		return p.expectEOF()
	case "STARTTLS":
		return p.startTLS()
	case "HALFCLOSE":
		return p.halfClose()
	case "CLOSE":
		c.flush()
		p.note(c, "--", "closed by the client")
		return c.conn.Close()
	case "WAIT":
		time.Sleep(st.wait)
	}
	return nil
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

func (p *player) connect(service string) error {
	conn, err := p.dial(service)
	if err != nil {
		return fmt.Errorf("cannot connect to %q: %w", service, err)
	}
	c := &peer{number: len(p.peers) + 1, conn: conn, in: bufio.NewReader(conn)}
	c.startWriter()
	p.peers = append(p.peers, c)
	p.current = c
	p.note(c, "--", "connected "+service)
	return nil
}

func (p *player) use(n int) error {
	if n < 1 || n > len(p.peers) {
		return fmt.Errorf("there is no connection %d", n)
	}
	p.current = p.peers[n-1]
	return nil
}

// startWriter lets the script send more than the server reads before it
// answers, without a deadlock.
func (c *peer) startWriter() {
	send, sent, conn := make(chan []byte, 1<<16), make(chan struct{}), c.conn
	c.send, c.sent = send, sent
	go func() {
		defer close(sent)
		for b := range send {
			conn.Write(b) // a server that has closed shows at the next S: or EOF
		}
	}()
}

func (c *peer) queue(s string) { c.send <- []byte(s) }

// flush waits until everything queued is written.
func (c *peer) flush() {
	close(c.send)
	<-c.sent
	c.startWriter()
}

func (p *player) close() {
	for _, c := range p.peers {
		c.conn.Close()
		close(c.send)
		<-c.sent
	}
}

// readLine returns the next line without its CRLF.
func (p *player) readLine() (string, error) {
	c := p.current
	c.conn.SetReadDeadline(time.Now().Add(patience))
	b, err := c.in.ReadBytes('\n')
	if err != nil {
		p.note(c, "--", fmt.Sprintf("%q then %v", b, err))
		return string(b), err
	}
	line, ok := strings.CutSuffix(string(b), "\r\n")
	p.note(c, "S:", line)
	if !ok {
		return line, fmt.Errorf("got a line that ends in a bare LF: %q", b)
	}
	return line, nil
}

// expect reads one line, or with skip as many as it takes until one matches.
func (p *player) expect(st step, skip bool) error {
	for {
		line, err := p.readLine()
		if err != nil {
			return fmt.Errorf("expected %s\n\tgot      %q and %w", st.text, line, err)
		}
		if match(st.text, line) {
			p.forbidden = nil
			return nil
		}
		if err := p.checkForbidden(line); err != nil {
			return err
		}
		if !skip {
			return fmt.Errorf("expected %s\n\tgot      %s", st.text, line)
		}
	}
}

func (p *player) checkForbidden(line string) error {
	for _, f := range p.forbidden {
		if match(f.text, line) {
			return fmt.Errorf("line %d forbids %s\n\tgot       %s", f.line, f.text, line)
		}
	}
	return nil
}

// forbid remembers st; the end of the reply is the next S: or S*, or else the
// last line as the protocols mark it.
func (p *player) forbid(st step, next []step) error {
	p.forbidden = append(p.forbidden, st)
	if len(next) > 0 && strings.HasPrefix(next[0].verb, "S") && next[0].verb != "STARTTLS" {
		return nil
	}
	defer func() { p.forbidden = nil }()
	for {
		line, err := p.readLine()
		if err != nil {
			return fmt.Errorf("expected the end of the reply, got %q and %w", line, err)
		}
		if err := p.checkForbidden(line); err != nil {
			return err
		}
		if p.current.final(line) {
			return nil
		}
	}
}

// final reports whether line ends a reply of SMTP (a code and a space), IMAP
// (the tag of the command) or POP3 (a dot, or an error).
func (c *peer) final(line string) bool {
	if line == "." || strings.HasPrefix(line, "-ERR") {
		return true
	}
	if c.tag != "" && strings.HasPrefix(line, c.tag+" ") {
		return true
	}
	return len(line) >= 3 && strings.Trim(line[:3], "0123456789") == "" && (len(line) == 3 || line[3] == ' ')
}

func (p *player) expectEOF() error {
	line, err := p.readLine()
	if err == nil {
		return fmt.Errorf("expected the end of the connection\n\tgot      %s", line)
	}
	if line != "" {
		return fmt.Errorf("expected the end of the connection, got %q and %w", line, err)
	}
	if closed(err) {
		return nil
	}
	return fmt.Errorf("expected the end of the connection: %w", err)
}

// closed reports whether err means that the server has closed. A reset is
// what a client sees when the server closes with unread input.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (p *player) startTLS() error {
	c := p.current
	c.flush()
	if n := c.in.Buffered(); n > 0 {
		b, _ := c.in.Peek(n)
		return fmt.Errorf("cannot start TLS: the server said %q before the handshake", b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	if err := secure.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("cannot start TLS: %w", err)
	}
	p.note(c, "--", "TLS started")
	close(c.send)
	<-c.sent
	c.conn, c.in = secure, bufio.NewReader(secure)
	c.startWriter()
	return nil
}

func (p *player) halfClose() error {
	c := p.current
	c.flush()
	p.note(c, "--", "half closed")
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("cannot half-close a %T", c.conn)
	}
	return half.CloseWrite()
}

func (p *player) note(c *peer, mark, text string) {
	p.transcript.add(c.number, mark, text)
}

// A transcript keeps the last part of the talk.
type transcript struct{ text []byte }

func (t *transcript) add(number int, mark, text string) {
	t.text = append(strconv.AppendInt(append(t.text, "  "...), int64(number), 10), ' ')
	t.text = append(append(t.text, mark...), ' ')
	t.text = append(append(t.text, text...), '\n')
	if len(t.text) > 2*maxTranscript {
		t.text = append(t.text[:0], t.text[len(t.text)-maxTranscript:]...)
	}
}

// String returns the talk, or its end.
func (t *transcript) String() string { return string(t.text) }
