package smtpclient

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"peyk/internal/envelope"
)

func rcpts(addresses ...string) []envelope.Recipient {
	var list []envelope.Recipient
	for _, a := range addresses {
		list = append(list, envelope.Recipient{Address: a})
	}
	return list
}

// hello are the steps up to EHLO with some keywords.
func hello(keywords ...string) []string {
	steps := []string{"S: 220 mx.test ESMTP", "C: EHLO me.test"}
	for _, k := range keywords {
		steps = append(steps, "S: 250-"+k)
	}
	return append(steps[:2:2], append([]string{"S: 250-mx.test"}, append(steps[2:], "S: 250 HELP")...)...)
}

func with(steps []string, more ...string) []string {
	return append(steps[:len(steps):len(steps)], more...)
}

func TestPipelinedTransactions(t *testing.T) {
	s, conn := play(t, with(hello("PIPELINING", "8BITMIME", "SIZE 1000", "DSN", "SMTPUTF8"),
		"C: MAIL FROM:<a@b.test> SIZE=19 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=Q+2B1",
		"C: RCPT TO:<c@d.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+3Dy@d.test",
		"C: RCPT TO:<e@d.test>",
		"C: DATA",
		"S: 250 ok", "S: 250 ok", "S: 550 5.1.1 no such user", "S: 354 go",
		"BODY", "S: 250 2.0.0 queued as 1",
		"C: MAIL FROM:<> BODY=8BITMIME", "C: RCPT TO:<c@d.test>", "C: DATA", "S: 250 ok", "S: 250 ok", "S: 354 go",
		"BODY", "S: 250 2.0.0 queued as 2", "C: QUIT", "S: 221 bye")...)
	c := newClient(t, conn)
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if c.Name() != "mx.test" {
		t.Error(c.Name())
	}
	m := &Mail{Sender: "a@b.test", SMTPUTF8: true, Ret: "HDRS", EnvID: "Q+1", Size: 19, Recipients: []envelope.Recipient{
		{Address: "c@d.test", Notify: []string{"SUCCESS", "FAILURE"}, ORcpt: "rfc822;x=y@d.test"}, {Address: "e@d.test"}}}
	results, err := c.Begin(m)
	if err != nil || results[0] != nil || Status(results[1], "mx").Reply() !=
		"550 5.1.1 host mx said: 550 5.1.1 no such user (in reply to RCPT TO)" {
		t.Fatal(results, err)
	}
	if r, err := c.Body(m, strings.NewReader("Subject: x\r\n\r\n.\r\n..y")); err != nil || r.Text() != "250 2.0.0 queued as 1" {
		t.Fatal(r, err)
	}
	m = &Mail{Recipients: rcpts("c@d.test")}
	if _, err := c.Begin(m); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Body(m, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	c.Quit()
	s.end(c)
	if got := s.body.String(); got != "Subject: x\r\n\r\n..\r\n...y\r\n.\r\n.\r\n" {
		t.Errorf("%q", got)
	}
}

func TestLockStepWithoutExtensions(t *testing.T) {
	s, conn := play(t, "S: 220-mx.test", "S: 220 SMTP", "C: EHLO me.test", "S: 502 what", "C: HELO me.test", "S: 250 hi",
		"C: MAIL FROM:<a@b.test>", "S: 250 ok", "C: RCPT TO:<c@d.test>", "S: 251 will forward", "C: DATA", "S: 354 go", "BODY", "S: 250 ok")
	c := newClient(t, conn)
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	m := &Mail{Sender: "a@b.test", Ret: "FULL", EnvID: "x", Size: 5, Recipients: []envelope.Recipient{{Address: "c@d.test", Notify: []string{"NEVER"}}}}
	if results, err := c.Begin(m); err != nil || results[0] != nil {
		t.Fatal(results, err)
	}
	if _, err := c.Body(m, strings.NewReader("hi\r\n")); err != nil {
		t.Fatal(err)
	}
	s.end(c)
}

func TestManyRecipientsGoInBatches(t *testing.T) {
	steps := with(hello("PIPELINING"), "C: MAIL FROM:<a@b.test>")
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprintf("r%d@%s.test", i, strings.Repeat("long", 10)))
	}
	// The server answers at once; a client that wrote everything first would
	// wait for ever once the buffers are full.
	for i, r := range list {
		steps = append(steps, "C: RCPT TO:<"+r+">")
		if i == 0 {
			steps = append(steps, "S: 250 ok")
		}
		steps = append(steps, "S: 250 "+strings.Repeat("x", 400))
	}
	s, conn := play(t, with(steps, "C: DATA", "S: 354 go", "BODY", "S: 250 ok")...)
	c := newClient(t, conn)
	m := &Mail{Sender: "a@b.test", Recipients: rcpts(list...)}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Begin(m); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Body(m, strings.NewReader("x\r\n")); err != nil {
		t.Fatal(err)
	}
	s.end(c)
}

func TestRefusals(t *testing.T) {
	one := "C: RCPT TO:<c@d.test>"
	mail := "C: MAIL FROM:<a@b.test>"
	pipe := hello("PIPELINING")
	tests := []struct {
		name   string
		steps  []string
		all    string // error of the transaction
		rcpt   string // error of the recipient
		broken bool
	}{
		{"greeting 554", []string{"S: 554 5.3.2 no"}, "554 5.3.2", "", false},
		{"greeting 421", []string{"S: 421 busy"}, "421 4.0.0", "", true},
		{"EHLO 421", []string{"S: 220 x", "C: EHLO me.test", "S: 421 4.3.2 bye"}, "421 4.3.2", "", true},
		{"HELO 550", []string{"S: 220 x", "C: EHLO me.test", "S: 550 no", "C: HELO me.test", "S: 550 5.7.1 no"}, "550 5.7.1", "", false},
		{"MAIL 550", with(pipe, mail, one, "C: DATA", "S: 550 5.7.1 no", "S: 503 no", "S: 503 no"), "550 5.7.1", "", false},
		{"MAIL 550 in lock-step", with(hello(), mail, "S: 550 no"), "550 5.0.0", "", false},
		{"MAIL 421", with(pipe, mail, one, "C: DATA", "S: 421 no"), "421 4.0.0", "", true},
		{"MAIL 354", with(pipe, mail, one, "C: DATA", "S: 354 go"), "451 4.5.0", "", true},
		{"RCPT 450", with(pipe, mail, one, "C: DATA", "S: 250 ok", "S: 450 4.2.0 later", "S: 554 none", "C: RSET", "S: 250 ok"), "no recipient", "450 4.2.0", false},
		{"RCPT 421", with(pipe, mail, one, "C: DATA", "S: 250 ok", "S: 421 4.3.2 later"), "421 4.3.2", "", true},
		{"RCPT refused, 354 all the same", with(pipe, mail, one, "C: DATA", "S: 250 ok", "S: 550 no", "S: 354 go", "C: .", "S: 554 none", "C: RSET", "S: 250 ok"), "no recipient", "550 5.0.0", false},
		{"RCPT 550 in lock-step", with(hello(), mail, "S: 250 ok", one, "S: 550 5.1.1 no", "C: RSET", "S: 250 ok"), "no recipient", "550 5.1.1", false},
		{"DATA 451", with(pipe, mail, one, "C: DATA", "S: 250 ok", "S: 250 ok", "S: 451 4.3.0 no", "C: RSET", "S: 250 ok"), "451 4.3.0", "", false},
		{"DATA 250", with(pipe, mail, one, "C: DATA", "S: 250 ok", "S: 250 ok", "S: 250 what"), "451 4.5.0", "", true},
		{"DATA 421", with(pipe, mail, one, "C: DATA", "S: 250 ok", "S: 250 ok", "S: 421 no"), "421 4.0.0", "", true},
		{"contradicting codes", with(pipe, mail, one, "C: DATA", "S: 250 ok", "S: 250 ok", "S: 550 4.1.1 hm", "C: RSET", "S: 250 ok"), "550 5.0.0", "", false},
		{"split reply", with(pipe, mail, one, "C: DATA", "1: 550 5.7.1 no", "1: 503 no", "1: 503 no"), "550 5.7.1", "", false},
		{"closed after MAIL", with(pipe, mail, one, "C: DATA", "S: 250 ok", "CLOSE"), "451 4.4.2", "", true},
		{"half a line", with(pipe, mail, one, "C: DATA", "B: 550 5.7", "CLOSE"), "451 4.4.2", "", true},
		{"no SMTP", []string{"S: SSH-2.0-OpenSSH_9.2"}, "451 4.5.0", "", true},
		{"HTTP", []string{"S: HTTP/1.1 400 Bad Request"}, "451 4.5.0", "", true},
		{"codes that differ", []string{"S: 220-x", "S: 250 x"}, "451 4.5.0", "", true},
		{"garbage after 250", with(hello(), mail, "B: 250 ok\r\ngarbage\r\n"), "451 4.5.0", "", true},
		{"421 in advance", with(hello(), mail, "B: 250 ok\r\n421 4.4.2 too slow\r\n"), "421 4.4.2", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, conn := play(t, tt.steps...)
			c := newClient(t, conn)
			err := c.Hello()
			results := []error{nil}
			if err == nil {
				results, err = c.Begin(&Mail{Sender: "a@b.test", Recipients: rcpts("c@d.test")})
			}
			if got := reply(err); !strings.HasPrefix(got, tt.all) {
				t.Errorf("transaction: %s, want %s", got, tt.all)
			}
			if got := reply(results[0]); !strings.HasPrefix(got, tt.rcpt) || tt.rcpt == "" && got != "" {
				t.Errorf("recipient: %s, want %s", got, tt.rcpt)
			}
			if c.Broken() != tt.broken {
				t.Errorf("broken: %v", c.Broken())
			}
			if !tt.broken {
				s.end(c)
			}
		})
	}
}

func reply(err error) string {
	if err == nil {
		return ""
	}
	if errors.Is(err, ErrNoRecipients) {
		return err.Error()
	}
	return Status(err, "mx").Reply()
}

func TestEndOfData(t *testing.T) {
	begin := with(hello("PIPELINING"), "C: MAIL FROM:<a@b.test>", "C: RCPT TO:<c@d.test>", "C: DATA", "S: 250 ok", "S: 250 ok", "S: 354 go", "BODY")
	for name, tt := range map[string]struct {
		steps []string
		want  string
	}{
		"250":                {with(begin, "S: 250 2.0.0 ok"), ""},
		"250 and garbage":    {with(begin, "B: 250 ok\r\n\x00\xffgarbage\r\n"), ""},
		"554":                {with(begin, "S: 554 5.7.1 spam"), "554 5.7.1 host mx said: 554 5.7.1 spam (in reply to end of data)"},
		"421":                {with(begin, "S: 421 4.3.2 bye"), "421 4.3.2"},
		"354 again":          {with(begin, "S: 354 more"), "451 4.5.0"},
		"closed":             {with(begin, "CLOSE"), "451 4.4.2 host mx: lost connection while waiting for the reply to end of data"},
		"half a reply":       {with(begin, "B: 250 2.0", "CLOSE"), "451 4.4.2"},
		"byte by byte":       {with(begin, "1: 250-2.0.0 a", "1: 250 2.0.0 b"), ""},
		"forged log lines":   {with(begin, "B: 550 5.7.1 no\rReceived: x\x1b[2J\x00\r\n"), "550 5.7.1 host mx said: 550 5.7.1 no?Received: x?[2J? (in reply to end of data)"},
		"many lines":         {with(begin, "B: "+strings.Repeat("250-x\r\n", MaxReplyLines)+"250 x\r\n"), "451 4.5.0"},
		"a line without end": {with(begin, "B: 250 "+strings.Repeat("x", 2*MaxReplyBytes)), "451 4.5.0"},
	} {
		t.Run(name, func(t *testing.T) {
			s, conn := play(t, tt.steps...)
			c := newClient(t, conn)
			m := &Mail{Sender: "a@b.test", Recipients: rcpts("c@d.test")}
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Begin(m); err != nil {
				t.Fatal(err)
			}
			_, err := c.Body(m, strings.NewReader("x\r\n"))
			if got := reply(err); !strings.HasPrefix(got, tt.want) || (tt.want == "") != (got == "") {
				t.Errorf("%s, want %s", got, tt.want)
			}
			c.Close()
			<-s.done
		})
	}
}

// endless is a server that never ends its reply.
func TestEndlessReplyIsCut(t *testing.T) {
	client, server := net.Pipe()
	done := make(chan int)
	go func() {
		n := 0
		for {
			w, err := io.WriteString(server, "220-"+strings.Repeat("x", 200)+"\r\n")
			if n += w; err != nil {
				done <- n
				return
			}
		}
	}()
	c := newClient(t, client)
	if err := c.Hello(); !errors.Is(err, ErrReplyTooLong) {
		t.Error(err)
	}
	if n := <-done; n > 2*MaxReplyBytes {
		t.Errorf("read %d bytes", n)
	}
}

func TestWhatMayNotLeave(t *testing.T) {
	all := []string{"PIPELINING", "8BITMIME", "SMTPUTF8"}
	tests := []struct {
		name, message string
		keywords      []string
		want          string
	}{
		{"LF.LF", "a\r\n\n.\nMAIL FROM:<x@y>\r\n", all, "554 5.6.11"},
		{"LF.CRLF", "a\n.\r\nb\r\n", all, "554 5.6.11"},
		{"CRLF.LF", "a\r\n.\nb\r\n", all, "554 5.6.11"},
		{"CR.CR", "a\r.\rb\r\n", all, "554 5.6.11"},
		{"CRLF.CR", "a\r\n.\rb\r\n", all, "554 5.6.11"},
		{"CR.CRLF", "a\r.\r\nb\r\n", all, "554 5.6.11"},
		{"CRCRLF.CRLF", "a\r\r\n.\r\r\nb\r\n", all, "554 5.6.11"},
		{"NUL", "a\x00b\r\n", all, "554 5.6.11"},
		{"CRLF NUL . CRLF", "a\r\n\x00.\r\nb\r\n", all, "554 5.6.11"},
		{"CR at the end", "a\r", all, "554 5.6.11"},
		{"LF at the start", "\na\r\n", all, "554 5.6.11"},
		{"8-bit body", "a: b\r\n\r\n\xc3\xa9\r\n", []string{"SMTPUTF8"}, "554 5.6.3"},
		{"8-bit header", "a: \xc3\xa9\r\n\r\nx\r\n", []string{"8BITMIME"}, "550 5.6.7"},
	}
	for _, tt := range tests {
		for _, size := range []int{7, 1 << 20} {
			t.Run(fmt.Sprint(tt.name, size), func(t *testing.T) {
				steps := with(hello(tt.keywords...), "C: MAIL FROM:<a@b.test>"+map[bool]string{true: " BODY=8BITMIME"}[tt.want[:9] != "554 5.6.3"]+
					map[bool]string{true: " SMTPUTF8"}[tt.want[:9] != "550 5.6.7"])
				if tt.keywords[0] == "PIPELINING" {
					steps = append(steps, "C: RCPT TO:<c@d.test>", "C: DATA", "S: 250 ok", "S: 250 ok", "S: 354 go", "BODY")
				} else {
					steps = append(steps, "S: 250 ok", "C: RCPT TO:<c@d.test>", "S: 250 ok", "C: DATA", "S: 354 go", "BODY")
				}
				s, conn := play(t, steps...)
				c := newClient(t, conn)
				m := &Mail{Sender: "a@b.test", SMTPUTF8: true, Recipients: rcpts("c@d.test")}
				if err := c.Hello(); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Begin(m); err != nil {
					t.Fatal(err)
				}
				// Some that is good first, so that a part has left already.
				_, err := c.Body(m, &pieces{text: strings.Repeat("x: "+strings.Repeat("y", 70)+"\r\n", 2000) + tt.message, n: size})
				if got := reply(err); !strings.HasPrefix(got, tt.want) {
					t.Errorf("%s, want %s", got, tt.want)
				}
				<-s.done
				if strings.Contains(s.body.String(), "\r\n.\r\n") {
					t.Error("a final dot was sent")
				}
			})
		}
	}
}

// pieces reads n bytes at a time.
type pieces struct {
	text string
	n    int
}

func (s *pieces) Read(p []byte) (int, error) {
	if s.text == "" {
		return 0, io.EOF
	}
	n := copy(p, s.text[:min(s.n, len(s.text))])
	s.text = s.text[n:]
	return n, nil
}

func TestSourceFails(t *testing.T) {
	s, conn := play(t, with(hello("PIPELINING"), "C: MAIL FROM:<>", "C: RCPT TO:<c@d.test>", "C: DATA", "S: 250 ok", "S: 250 ok", "S: 354 go", "BODY")...)
	c := newClient(t, conn)
	m := &Mail{Recipients: rcpts("c@d.test")}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Begin(m); err != nil {
		t.Fatal(err)
	}
	_, err := c.Body(m, io.MultiReader(strings.NewReader("half\r\n"), iotest.ErrReader(errors.New("gone"))))
	if got := reply(err); !strings.HasPrefix(got, "451 4.3.0") {
		t.Error(got)
	}
	<-s.done
	if strings.Contains(s.body.String(), ".\r\n") {
		t.Error("a final dot was sent")
	}
}

func TestCheckBeforeSending(t *testing.T) {
	tests := []struct {
		name     string
		keywords []string
		mail     Mail
		want     string
	}{
		{"too big", []string{"SIZE 100"}, Mail{Size: 101}, "552 5.3.4"},
		{"small enough", []string{"SIZE 100"}, Mail{Size: 100}, ""},
		{"no limit", []string{"SIZE 0"}, Mail{Size: 1 << 40}, ""},
		{"silly limit", []string{"SIZE -5"}, Mail{Size: 1 << 40}, ""},
		{"silly number", []string{"SIZE 99999999999999999999"}, Mail{Size: 5}, ""},
		{"binary", []string{"8BITMIME"}, Mail{Body: "BINARYMIME"}, "554 5.6.3"},
		{"UTF-8 sender", []string{"8BITMIME"}, Mail{Sender: "é@b.test", SMTPUTF8: true}, "550 5.6.7"},
		{"UTF-8 recipient", nil, Mail{SMTPUTF8: true, Recipients: rcpts("é@b.test")}, "550 5.6.7"},
		{"UTF-8 taken", []string{"SMTPUTF8"}, Mail{SMTPUTF8: true, Recipients: rcpts("é@b.test")}, ""},
		{"REQUIRETLS in clear", []string{"REQUIRETLS"}, Mail{RequireTLS: true}, "550 5.7.30"},
	}
	for _, tt := range tests {
		c := &Client{ext: map[string]string{}}
		for _, k := range tt.keywords {
			name, params, _ := strings.Cut(k, " ")
			c.ext[name] = params
		}
		if got := reply(c.Check(&tt.mail)); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

func TestAddressCannotBringParameters(t *testing.T) {
	_, conn := play(t, with(hello("PIPELINING"), "DEAF")...)
	c := newClient(t, conn)
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Begin(&Mail{Sender: "a@b.test>\r\nRCPT TO:<x@y.test", Recipients: rcpts("c@d.test")})
	if got := reply(err); !strings.HasPrefix(got, "501 5.5.4") {
		t.Error(got)
	}
}

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name  string
		steps []string
		o     Timeouts
		want  string
	}{
		{"greeting", []string{"DEAF"}, Timeouts{Greeting: 1}, "timed out while waiting for the reply to greeting"},
		{"EHLO", []string{"S: 220 x", "DEAF"}, Timeouts{Command: 20 * time.Millisecond}, "timed out while waiting for the reply to EHLO"},
		{"DATA", with(hello(), "C: MAIL FROM:<>", "S: 250 ok", "C: RCPT TO:<c@d.test>", "S: 250 ok", "DEAF"), Timeouts{Data: 20 * time.Millisecond}, "timed out while waiting for the reply to DATA"},
		{"end", with(hello(), "C: MAIL FROM:<>", "S: 250 ok", "C: RCPT TO:<c@d.test>", "S: 250 ok", "C: DATA", "S: 354 go", "BODY", "DEAF"), Timeouts{End: 20 * time.Millisecond}, "timed out while waiting for the reply to end of data"},
		{"block", with(hello(), "C: MAIL FROM:<>", "S: 250 ok", "C: RCPT TO:<c@d.test>", "S: 250 ok", "C: DATA", "S: 354 go", "HANG"), Timeouts{Block: 50 * time.Millisecond}, "timed out while sending the message"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, conn := play(t, tt.steps...)
			c := New(t.Context(), conn, Options{Hello: "me.test", Timeouts: tt.o})
			m := &Mail{Recipients: rcpts("c@d.test")}
			err := c.Hello()
			if err == nil {
				_, err = c.Begin(m)
			}
			size := int64(4)
			if tt.name == "block" {
				size = 64 << 20 // more than all buffers between two processes hold
			}
			if err == nil {
				_, err = c.Body(m, io.LimitReader(lines{}, size))
			}
			got := reply(err)
			if !strings.HasPrefix(got, "451 4.4.2 host mx: "+tt.want) || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(got, err)
			}
		})
	}
}

// lines is an endless message.
type lines struct{}

func (lines) Read(p []byte) (int, error) {
	n := len(p) / 4 * 4
	copy(p, bytes.Repeat([]byte("ab\r\n"), n/4))
	return n, nil
}

func TestOverallDeadline(t *testing.T) {
	_, conn := play(t, "DEAF")
	c := New(t.Context(), conn, Options{Hello: "me.test", Deadline: time.Now().Add(-time.Second)})
	if err := c.Hello(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

func TestContextEndsTheSession(t *testing.T) {
	_, conn := play(t, "DEAF")
	c := New(cancelled(), conn, Options{Hello: "me.test"})
	if err := c.Hello(); err == nil {
		t.Error("no error")
	}
}

func TestEarlyRefusalOfTheMessage(t *testing.T) {
	client, server := net.Pipe()
	go func() {
		r := bufio.NewReader(server)
		io.WriteString(server, "220 x\r\n")
		r.ReadString('\n')
		io.WriteString(server, "250 x\r\n")
		for _, answer := range []string{"250 ok", "250 ok", "354 go"} {
			r.ReadString('\n')
			io.WriteString(server, answer+"\r\n")
		}
		r.ReadString('\n')
		io.WriteString(server, "552 5.3.4 enough\r\n")
	}()
	c := New(t.Context(), client, Options{Hello: "me.test", Timeouts: Timeouts{Block: 50 * time.Millisecond}})
	m := &Mail{Recipients: rcpts("c@d.test")}
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Begin(m); err != nil {
		t.Fatal(err)
	}
	_, err := c.Body(m, io.LimitReader(lines{}, 1<<20))
	if got := reply(err); !strings.HasPrefix(got, "552 5.3.4") {
		t.Error(got)
	}
}

func TestStartTLS(t *testing.T) {
	before := with(hello("STARTTLS", "XONLYCLEAR"), "C: STARTTLS")
	s, conn := play(t, with(before, "S: 220 go", "TLS", "C: EHLO me.test", "S: 250-mx", "S: 250 AUTH PLAIN",
		"C: AUTH PLAIN AHUAcA==", "S: 235 ok")...)
	c := newClient(t, conn)
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if err := c.StartTLS(t.Context(), &tls.Config{RootCAs: pool(s), ServerName: "mx.test"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Hello(); err != nil || c.TLS() == nil {
		t.Fatal(err)
	}
	if _, ok := c.Extension("XONLYCLEAR"); ok {
		t.Error("what was learned in clear text is still believed")
	}
	if err := c.Auth("u", "p"); err != nil {
		t.Fatal(err)
	}
	s.end(c)
}

func TestStartTLSFails(t *testing.T) {
	before := with(hello("STARTTLS"), "C: STARTTLS")
	for name, tt := range map[string]struct {
		steps  []string
		want   string
		broken bool
	}{
		"refused":       {with(before, "S: 454 4.7.0 not now"), "454 4.7.0", false},
		"injection":     {with(before, "B: 220 ok\r\n250 injected\r\n", "DEAF"), "454 4.7.5", true},
		"no handshake":  {with(before, "S: 220 ok", "C: x", "CLOSE"), "454 4.7.5", true},
		"wrong name":    {with(before, "S: 220 ok", "TLS"), "454 4.7.5", true},
		"positive junk": {with(before, "S: 250 ok", "DEAF"), "451 4.5.0", true},
	} {
		t.Run(name, func(t *testing.T) {
			s, conn := play(t, tt.steps...)
			c := newClient(t, conn)
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			err := c.StartTLS(t.Context(), &tls.Config{RootCAs: pool(s), ServerName: "other.test"})
			if got := reply(err); !strings.HasPrefix(got, tt.want) || c.Broken() != tt.broken {
				t.Error(got, err, c.Broken())
			}
			if errors.Is(err, ErrInjection) != (name == "injection") {
				t.Error(err)
			}
		})
	}
}

func TestAuth(t *testing.T) {
	for name, tt := range map[string]struct {
		keyword string
		steps   []string
		want    string
	}{
		"plain":   {"AUTH LOGIN PLAIN", []string{"C: AUTH PLAIN AHUAcA==", "S: 235 ok"}, ""},
		"login":   {"AUTH LOGIN", []string{"C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6", "C: dQ==", "S: 334 UGFzc3dvcmQ6", "C: cA==", "S: 235 ok"}, ""},
		"refused": {"AUTH PLAIN", []string{"C: AUTH PLAIN AHUAcA==", "S: 535 5.7.8 wrong"}, "535 5.7.8 host mx said: 535 5.7.8 wrong (in reply to AUTH)"},
		"none":    {"AUTH CRAM-MD5", nil, "454 4.7.0"},
		"nothing": {"HELP", nil, "454 4.7.0"},
	} {
		t.Run(name, func(t *testing.T) {
			s, conn := play(t, with(hello(tt.keyword), tt.steps...)...)
			c := newClient(t, conn)
			if err := c.Hello(); err != nil {
				t.Fatal(err)
			}
			got := reply(c.Auth("u", "p"))
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" || strings.Contains(got, "AHU") {
				t.Error(got)
			}
			s.end(c)
		})
	}
}

type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }

func TestNoPasswordInClearText(t *testing.T) {
	s, conn := play(t, hello("AUTH PLAIN")...)
	c := newClient(t, elsewhere{conn})
	if err := c.Hello(); err != nil {
		t.Fatal(err)
	}
	if err := c.Auth("u", "p"); !errors.Is(err, ErrClearText) {
		t.Error(err)
	}
	s.end(c)
}

// FuzzReply: a reply that is read has the code of its first three bytes and
// can be written and read again; its text is one line of printable ASCII;
// no more than MaxReplyBytes are ever read.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 x\n", "250\r\n", "999 x\r\n", "250-\r\n", "25", "220 \x00\xff\r\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ReadReply(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			return
		}
		if want := string(in[:3]); fmt.Sprint(r.Code) != want {
			t.Fatalf("code %d of %q", r.Code, in)
		}
		text := r.Text()
		if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) || len(text) > maxText+4 {
			t.Fatalf("text %q", text)
		}
		if len(r.Lines) > MaxReplyLines {
			t.Fatalf("%d lines", len(r.Lines))
		}
		again, err := ReadReply(bufio.NewReader(strings.NewReader(format(r))))
		if err != nil || again.Text() != text || again.Enhanced != r.Enhanced {
			t.Fatalf("%+v %+v %v", r, again, err)
		}
	})
}

func format(r Reply) string {
	var b strings.Builder
	for i, line := range r.Lines {
		mark := "-"
		if i == len(r.Lines)-1 {
			mark = " "
		}
		fmt.Fprintf(&b, "%d%s%s\r\n", r.Code, mark, line)
	}
	return b.String()
}

// sink is a connection that takes everything.
type sink struct {
	net.Conn
	bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) { return s.Buffer.Write(p) }
func (*sink) SetDeadline(time.Time) error   { return nil }
func (s *sink) Read(p []byte) (int, error)  { return 0, io.EOF }
func (*sink) Close() error                  { return nil }

// FuzzBody: what leaves either is refused, or has neither bare CR nor bare LF
// nor NUL, ends with exactly one final dot, and unstuffs to what came in.
func FuzzBody(f *testing.F) {
	f.Add("a\r\n.\r\n..b\r\n", 3)
	f.Add("a\n.\r\n", 1)
	f.Add(".", 1)
	f.Add("\r", 1)
	f.Fuzz(func(t *testing.T, in string, n int) {
		conn := &sink{}
		c := New(t.Context(), conn, Options{})
		c.ext = map[string]string{"8BITMIME": ""}
		_, err := c.Body(&Mail{}, &pieces{text: in, n: n&0xff + 1})
		out := conn.Buffer.String()
		if strings.ContainsAny(strings.ReplaceAll(out, "\r\n", ""), "\r\n\x00") {
			t.Fatalf("%q", out)
		}
		whole := strings.HasSuffix("\r\n"+out, "\r\n.\r\n")
		if errors.Is(err, errBare) {
			if strings.Contains("\r\n"+out, "\r\n.\r\n") {
				t.Fatalf("final dot in %q", out)
			}
			return
		}
		if !whole || strings.Count("\r\n"+out, "\r\n.\r\n") != 1 {
			t.Fatalf("%q", out)
		}
		want := in
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		got := strings.ReplaceAll("\r\n"+strings.TrimSuffix(out, ".\r\n"), "\r\n.", "\r\n")[2:]
		if got != want {
			t.Fatalf("%q became %q", in, got)
		}
	})
}
