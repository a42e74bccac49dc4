package remote

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/dialog"
	"peyk/internal/envelope"
	"peyk/internal/lmtp"
)

var modern = []string{"PIPELINING", "8BITMIME", "SIZE 1000000", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"}

func TestRelay(t *testing.T) {
	w := newWorld(t)
	h := w.host("192.0.2.1", &host{keywords: modern})
	results := w.deliver(&lmtp.Transaction{Sender: "a@b.test", Ret: "HDRS", EnvID: "E1", Body: "8BITMIME", Recipients: []envelope.Recipient{
		{Address: "x@one.test", Notify: []string{"SUCCESS"}, ORcpt: "rfc822;y@z.test"}, {Address: "y@one.test"}}})
	for _, r := range results {
		if r.Err != nil || without(r.Reply) != "250 2.1.5 relayed to mx.one.test[192.0.2.1] dsn=yes said: 250 2.0.0 queued as 7" {
			t.Errorf("%+v", r)
		}
	}
	want := "[{MAIL FROM:<a@b.test> SIZE=20 BODY=8BITMIME RET=HDRS ENVID=E1 [RCPT TO:<x@one.test> NOTIFY=SUCCESS ORCPT=rfc822;y@z.test RCPT TO:<y@one.test>] Subject: x\r\n\r\n.dot\r\n false}]"
	if got := fmt.Sprint(h.got()); got != want {
		t.Errorf("%s", got)
	}
	if w.tried() != "192.0.2.1:25" || !strings.HasPrefix(h.commands(), "EHLO me.example.test\n") {
		t.Error(w.tried(), h.commands())
	}
	if log := w.log.String(); strings.Count(log, "event=relay-accepted") != 2 || !strings.Contains(log, "queue=q1 recipient=x@one.test host=mx.one.test[192.0.2.1] tls=none") {
		t.Error(log)
	}
}

func TestRecipientsHaveTheirOwnResults(t *testing.T) {
	for _, pipelining := range []string{"PIPELINING", "HELP"} {
		w := newWorld(t)
		w.host("192.0.2.1", &host{keywords: []string{pipelining}, replies: map[string]string{
			"RCPT TO:<bad": "550 5.1.1 no such user", "RCPT TO:<full": "452 4.2.2 full"}})
		want := "250 2.1.5 relayed to mx.one.test[192.0.2.1] dsn=no said: 250 2.0.0 queued as 7\n" +
			"550 5.1.1 host mx.one.test[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO)\n" +
			"452 4.2.2 host mx.one.test[192.0.2.1] said: 452 4.2.2 full (in reply to RCPT TO)"
		if got := w.replies("good@one.test", "bad@one.test", "full@one.test"); got != want {
			t.Errorf("%s", got)
		}
	}
}

// TestDestinations is the matrix of DNS and routes.
func TestDestinations(t *testing.T) {
	route := routes("literal.test [192.0.2.1]:2525", "named.test bare.test", "local.test 127.0.0.1:2599", "gone.test nowhere.test:25", "mx.test mx")
	tests := []struct{ to, tried, reply string }{
		{"x@one.test", "192.0.2.1:25", "250 2.1.5"},
		{"x@bare.test", "192.0.2.1:25", "250 2.1.5"},
		{"x@six.test", "[2001:db8::1]:25", "250 2.1.5"},
		{"x@[192.0.2.1]", "192.0.2.1:25", "250 2.1.5"},
		{"x@[IPv6:2001:db8::1]", "[2001:db8::1]:25", "250 2.1.5"},
		{"x@literal.test", "192.0.2.1:2525", "250 2.1.5"},
		{"x@named.test", "192.0.2.1:25", "250 2.1.5"},
		{"x@local.test", "127.0.0.1:2599", "250 2.1.5"},
		{"x@null.test", "", "556 5.1.10"},
		{"x@self.test", "", "550 5.4.6"},
		{"x@loopback.test", "", "550 5.4.6"},
		{"x@[127.0.0.1]", "", "550 5.4.6"},
		{"x@noaddr.test", "", "550 5.4.4"},
		{"x@nonexistent.test", "", "550 5.1.2"},
		{"x@mx.test", "", "550 5.1.2"},
		{"x@fail.test", "", "451 4.4.3"},
		{"x@gone.test", "", "451 4.3.5"},
	}
	for _, tt := range tests {
		t.Run(tt.to, func(t *testing.T) {
			w := newWorld(t, route)
			for _, addr := range []string{"192.0.2.1", "2001:db8::1", "127.0.0.1"} {
				w.host(addr, &host{keywords: modern})
			}
			if got := w.replies(tt.to); !strings.HasPrefix(got, tt.reply) || w.tried() != tt.tried {
				t.Errorf("%s, tried %s", got, w.tried())
			}
		})
	}
}

func TestOtherHostsAreTried(t *testing.T) {
	both := "192.0.2.21:25 192.0.2.22:25"
	for name, first := range map[string]*host{
		"refused":             nil,
		"554":                 {greeting: "554 5.3.2 go away"},
		"421":                 {greeting: "421 4.3.2 busy"},
		"no SMTP":             {greeting: "HTTP/1.1 400 Bad Request"},
		"EHLO 421":            {replies: map[string]string{"EHLO": "421 no"}},
		"EHLO closes":         {replies: map[string]string{"EHLO": "close"}},
		"MAIL 451":            {keywords: modern, replies: map[string]string{"MAIL": "451 4.3.0 later", "RCPT": "503 no", "DATA": "503 no"}},
		"MAIL 421":            {keywords: modern, replies: map[string]string{"MAIL": "421 4.3.0 later"}},
		"MAIL closes":         {keywords: modern, replies: map[string]string{"MAIL": "close"}},
		"RCPT 450":            {keywords: modern, replies: map[string]string{"RCPT": "450 4.7.1 greylisted"}},
		"RCPT 421":            {keywords: modern, replies: map[string]string{"RCPT": "421 4.7.1 bye"}},
		"DATA 421":            {keywords: modern, replies: map[string]string{"DATA": "421 4.7.1 bye"}},
		"DATA 451":            {keywords: modern, replies: map[string]string{"DATA": "451 4.7.1 no"}},
		"MAIL answers a DATA": {keywords: modern, replies: map[string]string{"MAIL": "354 go"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if first != nil {
				w.host("192.0.2.21", first)
			}
			second := w.host("192.0.2.22", &host{keywords: modern})
			got := w.replies("x@two.test")
			if !strings.HasPrefix(got, "250 2.1.5 relayed to mx2.two.test") || w.tried() != both || len(second.got()) != 1 {
				t.Errorf("%s, tried %s", got, w.tried())
			}
			if !strings.Contains(w.log.String(), "event=host-failed") {
				t.Error(w.log.String())
			}
		})
	}
}

func TestPermanentAnswersEndTheSearch(t *testing.T) {
	for name, first := range map[string]*host{
		"MAIL 550": {keywords: modern, replies: map[string]string{"MAIL": "550 5.7.1 no", "RCPT": "503 no", "DATA": "503 no"}},
		"RCPT 550": {keywords: modern, replies: map[string]string{"RCPT": "550 5.1.1 no"}},
		"end 554":  {keywords: modern, end: "554 5.7.1 spam"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.host("192.0.2.21", first)
			w.host("192.0.2.22", &host{keywords: modern})
			if got := w.replies("x@two.test"); !strings.HasPrefix(got, "55") || w.tried() != "192.0.2.21:25" {
				t.Errorf("%s, tried %s", got, w.tried())
			}
		})
	}
}

func TestLoopsThatOnlyTheConnectionShows(t *testing.T) {
	loop := "550 5.4.6 mail for two.test loops back to this host"
	w := newWorld(t)
	w.host("192.0.2.21", &host{name: "ME.example.test", keywords: modern})
	w.host("192.0.2.22", &host{keywords: modern})
	if got := w.replies("x@two.test"); got != loop || w.tried() != "192.0.2.21:25" {
		t.Error(got, w.tried())
	}
	dial := w.o.Dial
	w = newWorld(t, func(o *Options) {
		o.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			c, err := dial(ctx, to)
			return named{c, netip.MustParseAddrPort("127.0.0.1:25")}, err
		}
	})
	if got := w.replies("x@two.test"); got != loop {
		t.Error(got)
	}
	w = newWorld(t, routes("* 192.0.2.21"))
	w.host("192.0.2.21", &host{name: "me.example.test", keywords: modern})
	if got := w.replies("x@two.test"); !strings.HasPrefix(got, "250") {
		t.Error("a route may lead to ourselves:", got)
	}
}

func TestTwoHostsThatDeferAreEnough(t *testing.T) {
	w := newWorld(t)
	for _, addr := range []string{"192.0.2.21", "192.0.2.22", "192.0.2.1"} {
		w.host(addr, &host{keywords: modern, replies: map[string]string{"RCPT": "450 4.7.1 greylisted by " + addr}})
	}
	if got := w.replies("x@three.test"); !strings.HasPrefix(got, "450 4.7.1 host mx2.two.test") || strings.Count(w.tried(), ":25") != 2 {
		t.Errorf("%s, tried %s", got, w.tried())
	}
}

func TestAllHostsFail(t *testing.T) {
	w := newWorld(t)
	w.host("192.0.2.21", &host{greeting: "554 5.3.2 no mail here"})
	if got := w.replies("x@two.test", "y@two.test"); got != "451 4.4.1 host mx2.two.test[192.0.2.22]: cannot connect\n451 4.4.1 host mx2.two.test[192.0.2.22]: cannot connect" {
		t.Error(got)
	}
	w.host("192.0.2.22", &host{greeting: "521 5.3.2 no mail here"}) // RFC 7504
	if got := w.replies("x@two.test"); !strings.HasPrefix(got, "521 5.3.2 host mx2.two.test[192.0.2.22] said: 521") {
		t.Error(got)
	}
}

func TestWhatTheEndSays(t *testing.T) {
	for end, want := range map[string]string{
		"close":               "451 4.4.2 host mx.one.test[192.0.2.1]: lost connection while waiting for the reply to end of data",
		"421 4.3.2 bye":       "421 4.3.2",
		"250 ok\r\ngarbage":   "250 2.1.5",
		"552 5.3.4 too large": "552 5.3.4",
		"452 4.3.1 full":      "452 4.3.1",
		"354 more":            "451 4.5.0",
	} {
		w := newWorld(t)
		h := w.host("192.0.2.1", &host{keywords: modern, end: end})
		results := w.deliverAny("x@one.test")
		if !strings.HasPrefix(results, want) || len(h.got()) != 1 {
			t.Errorf("%s: %s", end, results)
		}
	}
}

// deliverAny is for replies that end the LMTP session too, such as 421.
func (w *world) deliverAny(to string) string {
	c, err := lmtp.Dial(w.t.Context(), "tcp", w.lmtp.String(), "queue-run", lmtp.Timeouts{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	results, _ := c.Deliver(w.t.Context(), &lmtp.Transaction{Recipients: []envelope.Recipient{{Address: to}}, Message: strings.NewReader("x\r\n"), Size: 3})
	return without(results[0].Reply)
}

func TestWhatTheHostCannotTake(t *testing.T) {
	w := newWorld(t)
	h := w.host("192.0.2.1", &host{keywords: []string{"SIZE 10"}})
	if got := w.replies("x@one.test"); !strings.HasPrefix(got, "552 5.3.4") {
		t.Error(got)
	}
	h.keywords = nil
	for want, tr := range map[string]*lmtp.Transaction{
		"550 5.6.7":  {SMTPUTF8: true, Recipients: []envelope.Recipient{{Address: "é@one.test"}}},
		"554 5.6.3":  {Body: "8BITMIME", Recipients: []envelope.Recipient{{Address: "x@one.test"}}, Message: strings.NewReader("\xe9\r\n"), Size: 3},
		"550 5.7.30": {RequireTLS: true, Recipients: []envelope.Recipient{{Address: "x@one.test"}}},
	} {
		if got := without(w.deliver(tr)[0].Reply); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", want, got)
		}
	}
	// What is only declared, but not needed, passes.
	if got := w.deliver(&lmtp.Transaction{Body: "8BITMIME", SMTPUTF8: true}, "x@one.test")[0]; got.Err != nil {
		t.Errorf("%+v", got)
	}
	if n := len(h.got()); n != 1 {
		t.Errorf("%d messages arrived", n)
	}
}

func TestOneDestinationPerTransaction(t *testing.T) {
	w := newWorld(t, routes("a.test bare.test", "b.test bare.test"))
	w.host("192.0.2.1", &host{keywords: modern})
	got := strings.Split(w.replies("x@one.test", "y@two.test", "z@one.test"), "\n")
	if !strings.HasPrefix(got[0], "250") || got[1] != "451 4.5.0 one destination per transaction: one.test first, send two.test again" || !strings.HasPrefix(got[2], "250") {
		t.Errorf("%q", got)
	}
	// Domains that share a route share a transaction.
	if got := w.replies("x@a.test", "y@b.test"); strings.Count(got, "250 2.1.5") != 2 {
		t.Errorf("%q", got)
	}
}

func TestOpportunisticTLS(t *testing.T) {
	cert, pool := certificate(t, "mx.one.test")
	other, _ := certificate(t, "other.test")
	for name, tt := range map[string]struct {
		h   *host
		tls string
		log string
	}{
		"verified":         {&host{cert: cert}, "verified", "tls=verified"},
		"unverified":       {&host{cert: other}, "unverified", "tls=unverified"},
		"handshake fails":  {&host{swallow: true}, "none", "event=tls-given-up"},
		"STARTTLS refused": {&host{replies: map[string]string{"STARTTLS": "454 4.7.0 no"}}, "none", "tls=none"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *Options) { o.Roots = pool })
			tt.h.keywords = append([]string{"STARTTLS"}, modern...)
			h := w.host("192.0.2.1", tt.h)
			got := w.replies("x@one.test")
			if !strings.HasPrefix(got, "250 2.1.5") || len(h.got()) != 1 || h.got()[0].tls != (tt.tls != "none") || !strings.Contains(w.log.String(), tt.log) {
				t.Errorf("%s %+v %s", got, h.got(), w.log)
			}
		})
	}
}

func TestInjectionBeforeTLSDefers(t *testing.T) {
	w := newWorld(t)
	h := w.host("192.0.2.1", &host{keywords: []string{"STARTTLS"}, replies: map[string]string{"STARTTLS": "220 go\r\n250 injected"}})
	if got := w.replies("x@one.test"); !strings.HasPrefix(got, "454 4.7.5") || len(h.got()) != 0 {
		t.Error(got)
	}
	if strings.Contains(h.commands(), "MAIL") {
		t.Error("fell back to clear text")
	}
}

func TestRequireTLS(t *testing.T) {
	cert, pool := certificate(t, "mx.safe.test", "mx.one.test", "bare.test")
	other, _ := certificate(t, "other.test")
	full := []string{"STARTTLS", "REQUIRETLS", "PIPELINING"}
	for name, tt := range map[string]struct {
		h    *host
		to   string
		want string
	}{
		"works":                {&host{keywords: full, cert: cert}, "x@safe.test", "250 2.1.5"},
		"route works":          {&host{keywords: full, cert: cert}, "x@route.test", "250 2.1.5"},
		"MX is not secure":     {&host{keywords: full, cert: cert}, "x@one.test", "550 5.7.30"},
		"no STARTTLS":          {&host{keywords: full[1:]}, "x@safe.test", "550 5.7.30"},
		"no REQUIRETLS":        {&host{keywords: full[:1], cert: cert}, "x@safe.test", "550 5.7.30"},
		"wrong certificate":    {&host{keywords: full, cert: other}, "x@safe.test", "550 5.7.30"},
		"only before TLS":      {&host{keywords: full, secure: []string{"HELP"}, cert: cert}, "x@safe.test", "550 5.7.30"},
		"handshake is refused": {&host{keywords: full, swallow: true}, "x@safe.test", "550 5.7.30"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, routes("route.test bare.test"), func(o *Options) { o.Roots = pool })
			h := w.host("192.0.2.1", tt.h)
			got := without(w.deliver(&lmtp.Transaction{Sender: "a@b.test", RequireTLS: true}, tt.to)[0].Reply)
			if !strings.HasPrefix(got, tt.want) {
				t.Error(got)
			}
			for _, m := range h.got() {
				if !m.tls || !strings.Contains(m.from, " REQUIRETLS") {
					t.Errorf("%+v", m)
				}
			}
			if tt.want[0] == '5' && strings.Contains(h.commands(), "MAIL") {
				t.Error(h.commands())
			}
		})
	}
}

func TestSmarthost(t *testing.T) {
	cert, pool := certificate(t, "bare.test")
	login := func(o *Options) {
		o.Roots = pool
		o.Credentials = Credentials{"bare.test": {"joe", "secret word"}, "127.0.0.1": {"joe", "secret word"}}
	}
	auth := "AUTH PLAIN AGpvZQBzZWNyZXQgd29yZA=="
	for name, tt := range map[string]struct {
		route string
		h     *host
		want  string
		auth  bool
	}{
		"TLS":            {"* bare.test:587", &host{keywords: []string{"STARTTLS", "AUTH PLAIN"}, cert: cert}, "250 2.1.5", true},
		"no TLS":         {"* bare.test:587", &host{keywords: []string{"AUTH PLAIN"}}, "454 4.7.5", false},
		"broken TLS":     {"* bare.test:587", &host{keywords: []string{"STARTTLS", "AUTH PLAIN"}, swallow: true}, "454 4.7.5", false},
		"loopback":       {"* 127.0.0.1:587", &host{keywords: []string{"AUTH PLAIN"}}, "250 2.1.5", true},
		"wrong password": {"* 127.0.0.1:587", &host{keywords: []string{"AUTH PLAIN"}, replies: map[string]string{"AUTH": "535 5.7.8 no"}}, "454 4.7.0", true},
		"no mechanism":   {"* 127.0.0.1:587", &host{}, "454 4.7.0", false},
		"another host":   {"* mx.one.test:587", &host{keywords: []string{"AUTH PLAIN"}}, "250 2.1.5", false},
		"login wanted":   {"* mx.one.test:587", &host{replies: map[string]string{"MAIL": "530 5.7.0 login first"}}, "454 4.7.0", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, routes(tt.route), login)
			w.host("192.0.2.1", tt.h)
			w.host("127.0.0.1", tt.h)
			got := w.replies("x@anywhere.test")
			if !strings.HasPrefix(got, tt.want) || strings.Contains(tt.h.commands(), auth) != tt.auth {
				t.Errorf("%s\n%s", got, tt.h.commands())
			}
			if text := got + w.log.String(); strings.Contains(text, "secret") || strings.Contains(text, "AGpv") {
				t.Error(text)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	c, err := ParseCredentials([]string{"Smart.Test  joe\tpass word ", "[2001:db8::1] a b"})
	if err != nil || c["smart.test"] != (Login{"joe", "pass word"}) || c["2001:db8::1"] != (Login{"a", "b"}) {
		t.Errorf("%v %v", c, err)
	}
	_, err = ParseCredentials([]string{"host user pw", "host", "host hunter2"})
	if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Count(err.Error(), "\n") != 1 {
		t.Error(err)
	}
	if _, ok := c.of(destination{domain: "smart.test"}); ok {
		t.Error("a password for whoever an MX record names")
	}
}

func TestHostileReplyIsOneHarmlessLine(t *testing.T) {
	w := newWorld(t)
	w.host("192.0.2.1", &host{keywords: modern, end: "550-5.7.1 a\x1b[2J\x00\rReceived: forged\r\n550 5.7.1 \xff\xe2\x80\xae" + strings.Repeat("y", 2000)})
	got := w.replies("x@one.test")
	if !strings.HasPrefix(got, "550 5.7.1 host mx.one.test[192.0.2.1] said: 550 5.7.1 a?[2J?Received: forged 5.7.1 ?yyy") || len(got) > 500 {
		t.Errorf("%d %q", len(got), got)
	}
}

func TestLargeMessageStreams(t *testing.T) {
	w := newWorld(t)
	h := w.host("192.0.2.1", &host{keywords: []string{"PIPELINING", "8BITMIME"}})
	const size = 20 << 20
	text := strings.Repeat(strings.Repeat("0123456789", 7)+".\r\n", size/73)
	got := w.deliver(&lmtp.Transaction{Message: io.LimitReader(strings.NewReader(text), size), Size: int64(len(text))}, "x@one.test")
	if got[0].Err != nil || h.got()[0].body != text {
		t.Errorf("%+v", got)
	}
}

func TestClientGivesUpInTheMiddle(t *testing.T) {
	w := newWorld(t)
	h := w.host("192.0.2.1", &host{keywords: modern})
	conn, err := net.Dial("tcp", w.lmtp.String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<x@one.test>\r\nBDAT 1000000 LAST\r\n"+strings.Repeat("half a message\r\n", 20000))
	for !strings.Contains(h.commands(), "DATA") {
		time.Sleep(time.Millisecond) // waits for an event, decides nothing
	}
	conn.Close()
	h.wg.Wait()
	if len(h.got()) != 0 {
		t.Error("half a message was delivered")
	}
}

func TestRefusedMessageNeverGetsItsDot(t *testing.T) {
	w := newWorld(t)
	h := w.host("192.0.2.1", &host{keywords: modern})
	for _, body := range []string{"a\n.\nb\r\n", "a\r\n.\rb\r\n", "a\r.\r\nb\r\n", "a\x00b\r\n", "a\r\n\n.\r\n"} {
		got := w.deliver(&lmtp.Transaction{Message: strings.NewReader(body), Size: int64(len(body))}, "x@one.test")
		if got[0].Err == nil || got[0].Err.Enhanced != "5.6.11" {
			t.Errorf("%q: %+v", body, got)
		}
	}
	h.wg.Wait()
	if n := len(h.got()); n != 0 {
		t.Errorf("%d messages left", n)
	}
}

func TestReload(t *testing.T) {
	w := newWorld(t)
	w.host("192.0.2.1", &host{keywords: modern})
	if got := w.replies("x@null.test"); !strings.HasPrefix(got, "556") {
		t.Error(got)
	}
	o := w.o
	routes("null.test 192.0.2.1")(&o)
	w.relay.Reload(o)
	if got := w.replies("x@null.test"); !strings.HasPrefix(got, "250") {
		t.Error(got)
	}
}

func TestTarpit(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Timeouts.Mail = 50 * time.Millisecond })
	w.host("192.0.2.1", &host{keywords: modern, replies: map[string]string{"MAIL": "hang"}})
	if got := w.replies("x@one.test"); got != "451 4.4.2 host mx.one.test[192.0.2.1]: timed out while waiting for the reply to MAIL FROM" {
		t.Error(got)
	}
}

func TestTimeLimitHoldsFromTheStart(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Limit = -time.Second })
	if got := w.replies("x@one.test"); !strings.HasPrefix(got, "451 4.4.3") {
		t.Error(got)
	}
}

func TestNoSessionIsLeftOpen(t *testing.T) {
	w := newWorld(t)
	h := w.host("192.0.2.1", &host{keywords: modern})
	for range 20 {
		w.replies("x@one.test")
	}
	conn, err := net.Dial("tcp", w.lmtp.String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<x@one.test>\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<x@one.test>\r\nQUIT\r\n")
	io.ReadAll(conn)
	h.wg.Wait() // every visit has ended
}

func TestHelloOfAHostWithoutAFullName(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Hostname = "localhost" })
	h := w.host("192.0.2.1", &host{keywords: modern})
	w.replies("x@one.test")
	if !strings.HasPrefix(h.commands(), "EHLO [127.0.0.1]\n") {
		t.Error(h.commands())
	}
}

func TestDialogues(t *testing.T) {
	dialog.RunDir(t, filepath.Join("..", "..", "test", "e2e", "remote"), func(t *testing.T, _ map[string]string) dialog.Dialer {
		w := newWorld(t, routes("route.test 192.0.2.1:2525"))
		w.host("192.0.2.1", &host{keywords: modern, replies: map[string]string{
			"RCPT TO:<unknown@": "550 5.1.1 no such user",
			"RCPT TO:<grey@":    "450 4.7.1 come again",
		}})
		w.host("192.0.2.22", &host{})
		return func(string) (net.Conn, error) { return net.Dial("tcp", w.lmtp.String()) }
	})
}
