package smtpd

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
	"peyk/internal/spool"
)

// BenchmarkReceive is one message of 4 KB from a client that waits for each
// reply, with a connection for each message or one for all, into a real drop.
func BenchmarkReceive(b *testing.B) {
	for _, keep := range []bool{false, true} {
		b.Run(fmt.Sprintf("keep=%v", keep), func(b *testing.B) { benchmarkReceive(b, keep) })
	}
}

func benchmarkReceive(b *testing.B, keep bool) {
	dir := b.TempDir()
	for _, sub := range []string{"drop/tmp", "drop/new"} {
		os.MkdirAll(filepath.Join(dir, sub), 0o755)
	}
	p := lenient()
	server := New(Options{Hostname: "mx.local.test", Directory: people{}, Auth: logins{}, TLS: certificate(),
		Queue: drop{spool.OpenDrop(dir, new(commit.Disk)), time.Now, rand.Reader},
		Log:   eventlog.New(io.Discard, "smtpd", eventlog.Logfmt, time.Now), Now: time.Now, Rand: rand.Reader}, &p)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	l := guardconn.New(inner, guardconn.Options{})
	defer l.Close()
	go server.Serve(l, MX)
	body := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 57) + ".\r\n"
	b.ReportAllocs()
	b.SetParallelism(5)
	b.RunParallel(func(pb *testing.PB) {
		var c *sender
		for pb.Next() {
			if c == nil {
				c = dialSender(b, inner.Addr().String())
			}
			for _, line := range []string{"MAIL FROM:<a@b.example>\r\n", "RCPT TO:<alice@local.test>\r\n", "DATA\r\n", body} {
				c.say(b, line)
			}
			if !keep {
				c.say(b, "QUIT\r\n")
				c.conn.Close()
				c = nil
			}
		}
	})
}

type sender struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialSender(b *testing.B, addr string) *sender {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	c := &sender{conn, bufio.NewReader(conn)}
	c.say(b, "")
	c.say(b, "EHLO c.example\r\n")
	return c
}

func (c *sender) say(b *testing.B, line string) {
	if _, err := io.WriteString(c.conn, line); err != nil {
		b.Fatal(err)
	}
	for {
		reply, err := c.in.ReadString('\n')
		if err != nil || reply[0] > '3' {
			b.Fatal(reply, err)
		}
		if reply[3] == ' ' {
			return
		}
	}
}
