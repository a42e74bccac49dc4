package imapd

import (
	"bufio"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// compressor is a client that speaks DEFLATE.
type compressor struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	out  *flate.Writer // nil: not yet
}

func newCompressor(t *testing.T, ts *testServer, service string) *compressor {
	conn, err := ts.dial(service)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &compressor{t: t, conn: conn, in: bufio.NewReader(conn)}
	c.line("* ")
	return c
}

// begin says COMPRESS DEFLATE.
func (c *compressor) begin() {
	c.send("z COMPRESS DEFLATE\r\n")
	c.line("z OK ")
	c.out, _ = flate.NewWriter(c.conn, 6)
	c.in = bufio.NewReader(flate.NewReader(c.in))
}

func (c *compressor) send(text string) {
	c.t.Helper()
	var err error
	if c.out == nil {
		_, err = io.WriteString(c.conn, text)
	} else if _, err = io.WriteString(c.out, text); err == nil {
		err = c.out.Flush()
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// line skips to a line that begins so.
func (c *compressor) line(prefix string) string {
	c.t.Helper()
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%v before %q", err, prefix)
		}
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
}

func TestCompress(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-plaintext-login": "127.0.0.0/8"})
	for _, service := range []string{"imap", "imaps", "preauth"} {
		c := newCompressor(t, ts, service)
		if service != "preauth" {
			c.send("y COMPRESS DEFLATE\r\n")
			c.line("y BAD ")
			c.send("x LOGIN alice secret\r\n")
			c.line("x OK [CAPABILITY ")
		}
		c.send("a COMPRESS LZW\r\nb COMPRESS\r\n")
		c.line("a BAD ")
		c.line("b BAD ")
		c.begin()
		c.send("c COMPRESS DEFLATE\r\nd SELECT INBOX\r\n")
		c.line("c NO [COMPRESSIONACTIVE] ")
		c.line("d OK ")
		text := strings.Repeat("Subject: x\r\n", 50_000)
		c.send(fmt.Sprintf("e APPEND INBOX {%d}\r\n", len(text)))
		c.line("+ ")
		c.send(text + "\r\n")
		c.line("* ")
		c.line("e OK ")
		c.send("f IDLE\r\n")
		c.line("+ ")
		ts.deliver(t, "alice", "Subject: news\n\nhello\n")
		c.line("* ")
		c.send("DONE\r\ng FETCH * BODY[]\r\n")
		c.line("f OK ")
		c.line("hello")
		c.line("g OK ")
		c.send("h FETCH 1 BODY.PEEK[]\r\n")
		got := c.line("* 1 FETCH ")
		if want := fmt.Sprintf("{%d}\r\n", len(text)); !strings.HasSuffix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		back := make([]byte, len(text))
		if _, err := io.ReadFull(c.in, back); err != nil || string(back) != text {
			t.Errorf("the message came back changed, %v", err)
		}
		c.line("h OK ")
		if service == "imap" {
			c.send("i UNAUTHENTICATE\r\nj STARTTLS\r\nk LOGIN alice secret\r\n") // RFC 8437 §3: it stays compressed
			c.line("i OK ")
			c.line("j BAD ")
			c.line("k OK ")
		}
		c.send("l LOGOUT\r\n")
		c.line("* BYE ")
		c.line("l OK ")
		if _, err := c.in.ReadByte(); err == nil {
			t.Error("there is more after LOGOUT")
		}
	}
}

// A few octets that become many count as many: limits are of what was
// decompressed.
func TestCompressionBomb(t *testing.T) {
	ts := startServer(t, map[string]string{"message-size-limit": "1M"})
	c := newCompressor(t, ts, "preauth")
	c.begin()
	zeros := strings.Repeat("0", 1<<20)
	c.send("a APPEND INBOX {2000000+}\r\n" + zeros + zeros[:2000000-1<<20] + "\r\n")
	c.line("a NO [TOOBIG] ")
	c.send("b NOOP " + zeros[:200_000] + "\r\n")
	c.line("b BAD ")
	c.send("c NOOP\r\n")
	c.line("c OK ")
	go io.WriteString(c.out, "d NOOP "+strings.Repeat(zeros, 100))
	c.line("* BYE ")

	c = newCompressor(t, ts, "preauth")
	c.begin()
	io.WriteString(c.conn, "this is no DEFLATE stream \xff\xff\xff\xff\xff\xff\xff\xff")
	if rest, err := io.ReadAll(c.in); err == nil || len(rest) > 0 {
		t.Errorf("%q and %v after garbage", rest, err)
	}
}
