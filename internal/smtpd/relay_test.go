package smtpd

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A path is one way to write a recipient, with the code of the answer to a
// stranger (and to one who uses a local sender address), to a listed network,
// and to a user who has logged in.
type path struct {
	rcpt                    string
	stranger, trusted, user int
}

// relayMatrix is item B64: every disguise of a foreign recipient.
var relayMatrix = []path{
	{"<alice@local.test>", 250, 250, 250},
	{"<ALICE@LOCAL.TEST>", 250, 250, 250},
	{"<alice+x@local.test>", 250, 250, 250},
	{"<any@all.test>", 250, 250, 250},
	{"<nobody@local.test>", 550, 550, 550},
	{"<u@far.example>", 550, 250, 250},
	{"<u@sub.local.test>", 550, 250, 250},
	{"<u@local.test.far.example>", 550, 250, 250},
	{"<u@xlocal.test>", 550, 250, 250},
	{"<@relay.example:alice@local.test>", 250, 250, 250},
	{"<@local.test:u@far.example>", 550, 250, 250},
	{"<@local.test,@far.example:u@far.example>", 550, 250, 250},
	{"<u%far.example@local.test>", 550, 550, 550},
	{"<u%far.example%x@local.test>", 550, 550, 550},
	{"<far.example!u@local.test>", 550, 550, 550},
	{"<local.test!u@far.example>", 550, 250, 250},
	{"<\"u@far.example\"@local.test>", 550, 550, 550},
	{"<\"u@local.test\"@far.example>", 550, 250, 250},
	{"<u@local.test@far.example>", 501, 501, 501},
	{"<u@far.example@local.test>", 501, 501, 501},
	{"<u@far.example(@local.test)>", 501, 501, 501},
	{"<u(@far.example)@local.test>", 501, 501, 501},
	{"<u@[127.0.0.1]>", 550, 550, 550},
	{"<u@[IPv6:::1]>", 550, 550, 550},
	{"<u@127.0.0.1>", 550, 250, 250},
	{"<u@local.test.>", 501, 501, 501},
	{"<u@far.example.>", 501, 501, 501},
	{"<u@.local.test>", 501, 501, 501},
	{"<u@>", 501, 501, 501},
	{"<@local.test>", 501, 501, 501},
	{"<u@local.test >", 501, 501, 501},
	{"< u@far.example>", 501, 501, 501},
	{"<u@far.example,alice@local.test>", 501, 501, 501},
	{"<u@far.example> <alice@local.test>", 501, 501, 501},
	{"<alice@local.test> ORCPT=rfc822;u@far.example", 250, 250, 250},
	{"<u@far.example> ORCPT=rfc822;alice@local.test", 550, 250, 250},
	{"<u@localhost>", 550, 250, 250},
	{"<u:far.example@local.test>", 501, 501, 501},
	{"<u\\@far.example@local.test>", 501, 501, 501},
	{"<|relay@local.test>", 550, 550, 550},
	{"<u/far.example@local.test>", 550, 550, 550},
	{"<postmaster>", 250, 250, 250},
	{"<postmaster@far.example>", 550, 250, 250},
	{"<u@far.example\x00@local.test>", 501, 501, 501},
	{"<u@far.example\t@local.test>", 501, 501, 501},
	{"<u@local.test\x7f>", 501, 501, 501},
	{"<u@far_example>", 501, 501, 501},
}

func TestRelayMatrix(t *testing.T) {
	listed := lenient()
	listed.Relay = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	rows := 0
	for _, c := range []struct {
		name, sender string
		policy       Policy
		service      Service
		want         func(path) int
	}{
		{"stranger", "<a@b.example>", lenient(), MX, func(p path) int { return p.stranger }},
		{"null sender", "<>", lenient(), MX, func(p path) int { return p.stranger }},
		{"local sender", "<alice@local.test>", lenient(), MX, func(p path) int { return p.stranger }},
		{"listed network", "<a@b.example>", listed, MX, func(p path) int { return p.trusted }},
		{"local program", "<a@b.example>", lenient(), Submit, func(p path) int { return p.user }},
		{"without login", "<alice@local.test>", lenient(), Submission, func(path) int { return 50 }},
	} {
		for _, p := range relayMatrix {
			l := quiet(t, c.policy)
			out := l.talk(c.service, fmt.Appendf(nil, "EHLO c\r\nMAIL FROM:%s\r\nRCPT TO:%s\r\nQUIT\r\n", c.sender, p.rcpt), 4096)
			lines := strings.Split(strings.TrimSpace(out), "\r\n")
			if got := lines[len(lines)-2]; !strings.HasPrefix(got, fmt.Sprint(c.want(p))) {
				t.Errorf("%s to %q: got %s, want %d", c.name, p.rcpt, got, c.want(p))
			}
			rows++
		}
	}
	if rows < 200 {
		t.Errorf("the matrix has only %d rows", rows)
	}
}

func TestFailedHandshakeCloses(t *testing.T) {
	l := newLab(t, nil)
	conn, in := greeted(t, l)
	fmt.Fprintf(conn, "EHLO c\r\nSTARTTLS\r\n")
	readUntil(t, in, "220 ")
	fmt.Fprintf(conn, "NOOP\r\nQUIT\r\n")
	rest, _ := in.ReadString(0)
	if strings.Contains(rest, "250") || strings.Contains(rest, "221") || strings.Contains(rest, "550") {
		t.Fatalf("the session went on in the clear: %q", rest)
	}
}

func TestShutdownSays421(t *testing.T) {
	l := newLab(t, nil)
	_, idle := greeted(t, l)
	conn, busy := greeted(t, l)
	fmt.Fprint(conn, opening)
	readUntil(t, busy, "354 ")
	drained := make(chan int)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		drained <- l.tracker.Drain(ctx)
	}()
	if line := readUntil(t, idle, "421 "); line != "421 4.3.2 mx.local.test is shutting down\r\n" {
		t.Fatalf("got %q", line)
	}
	fmt.Fprint(conn, "Subject: in time\r\n.\r\n")
	readUntil(t, busy, "250 2.0.0 queued")
	readUntil(t, busy, "421 4.3.2 ")
	if cut := <-drained; cut != 0 || len(l.queue.all()) != 1 {
		t.Fatalf("%d connections cut, %d messages", cut, len(l.queue.all()))
	}
}

// A client that never reads its replies must not keep the session (B54).
func TestDeafClient(t *testing.T) {
	l := newLab(t, nil)
	l.options.WriteTimeout = 200 * time.Millisecond
	l.serve(MX)
	conn, err := l.dial("smtp")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	help := []byte(strings.Repeat("NOOP\r\n", 1000))
	conn.SetWriteDeadline(time.Now().Add(time.Minute))
	for {
		if _, err := conn.Write(help); err != nil {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for l.tracker.Len() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Fatal("the session is still there")
	}
}

func TestReceivedUnderTLS(t *testing.T) {
	l := newLab(t, nil)
	conn, err := l.dial("submissions")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	fmt.Fprint(conn, "EHLO c\r\nAUTH PLAIN AGFsaWNlQGxvY2FsLnRlc3QAc2VjcmV0\r\nMAIL FROM:<alice@local.test> REQUIRETLS\r\nRCPT TO:<x@far.example>\r\nDATA\r\n")
	readUntil(t, in, "354 ")
	fmt.Fprint(conn, "Subject: x\r\n\r\n.\r\n")
	readUntil(t, in, "250 2.0.0 queued")
	m := l.queue.all()[0]
	trace := strings.Join(strings.Fields(m.content), " ")
	for _, want := range []string{"from c (unknown [127.0.0.1])", "TLS 1.3 TLS_", "with ESMTPSA id q1", "for <x@far.example>"} {
		if !strings.Contains(trace, want) {
			t.Errorf("no %q in %q", want, trace)
		}
	}
	if !m.envelope.RequireTLS || m.envelope.Client.Login != "alice@local.test" || m.envelope.Client.Proto != "ESMTPSA" {
		t.Errorf("envelope %+v", m.envelope)
	}
	if log := l.logged(); strings.Contains(log, "secret") || strings.Contains(log, "c2VjcmV0") {
		t.Error("the password is in the log")
	}
}

func greeted(t *testing.T, l *lab) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := l.dial("smtp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	in := bufio.NewReader(conn)
	readUntil(t, in, "220 ")
	return conn, in
}

func readUntil(t *testing.T, in *bufio.Reader, prefix string) string {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if strings.HasPrefix(line, prefix) {
			return line
		}
		if err != nil {
			t.Fatalf("waiting for %q: %q %v", prefix, line, err)
		}
	}
}
