package traffic

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peyk/test/imapwire"
	"peyk/test/sandbox"
)

// A Load is people who use a system all at once, whatever happens to it:
// whoever loses the connection makes another.
type Load struct {
	*Ledger
	*Sink
	MessageSize int           // at most, about
	Pause       time.Duration // between two messages of a sender
	Empty       bool          // the IMAP client deletes what it has read, as the POP3 client does
	Resets      atomic.Bool   // clients drop their connections at any point

	t    testing.TB
	s    *sandbox.Sandbox
	tls  *tls.Config
	stop chan struct{}
	wait sync.WaitGroup

	mu      sync.Mutex
	did     map[string]int
	refused map[string]int // by the reply's first words
}

// Settings are what a sandbox needs for a Load: foreign mail goes to the sink.
func Settings(sink *Sink) []string {
	return []string{"retry=1s", "message-size-limit=1M", "routes=* " + sink.Addr, "auth-failure-delay=0s"}
}

// New prepares a load for a running system.
func New(t testing.TB, s *sandbox.Sandbox, ledger *Ledger, sink *Sink) *Load {
	t.Helper()
	pem, err := os.ReadFile(s.Env["PEYK_CA"])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("PEYK_CA holds no certificate")
	}
	return &Load{Ledger: ledger, Sink: sink, MessageSize: 4000, t: t, s: s, tls: &tls.Config{RootCAs: pool, ServerName: "localhost"},
		stop: make(chan struct{}), did: map[string]int{}, refused: map[string]int{}}
}

// TLS trusts the sandbox's certificate.
func (l *Load) TLS() *tls.Config { return l.tls }

// Start starts so many senders to the local users, and one of everything else.
func (l *Load) Start(senders int) {
	for n := range senders {
		l.wait.Go(func() { l.sender(n, "PEYK_SMTP", l.s.Env["PEYK_USER"+fmt.Sprint(1+n%2)]) })
	}
	l.wait.Go(func() { l.sender(senders, "PEYK_SUBMISSIONS", "somebody@elsewhere.example") })
	l.wait.Go(l.reader)
	l.wait.Go(l.popper)
}

// Stop ends all of it.
func (l *Load) Stop() {
	close(l.stop)
	l.wait.Wait()
}

func (l *Load) over() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

func (l *Load) pause(d time.Duration) {
	select {
	case <-l.stop:
	case <-time.After(d):
	}
}

func (l *Load) note(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.did[what]++
}

// Did says how often each thing was done.
func (l *Load) Did() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.did, ", refused: ", l.refused)
}

// refusal counts a reply that is no success; it reports whether err was one.
func (l *Load) refusal(err error) bool {
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused[fmt.Sprint(reply.Code, " ", strings.SplitN(reply.Msg, " ", 2)[0])]++
	return true
}

func (l *Load) sender(n int, port, to string) {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	user, password, config := "", "", (*tls.Config)(nil)
	if port == "PEYK_SUBMISSIONS" {
		user, password, config = l.s.Env["PEYK_USER1"], l.s.Env["PEYK_PASS1"], l.tls
	}
	from := "load@client.example"
	if user != "" {
		from = user
	}
	var conn *Conn
	for i := 0; !l.over(); i++ {
		var err error
		if conn == nil {
			if conn, err = DialSMTP(l.s.Env[port], config, user, password); err != nil {
				l.refusal(err)
				l.pause(20 * time.Millisecond)
				continue
			}
		}
		id := fmt.Sprintf("sent-%d-%d", n, i)
		text := l.Make(r, id, l.MessageSize)
		if err = conn.Send(from, text, to); err == nil {
			l.Promise(id)
		} else {
			l.refusal(err)
			conn.Close()
			conn = nil
			l.pause(20 * time.Millisecond)
		}
		if l.Resets.Load() && conn != nil && r.IntN(20) == 0 {
			conn.Close()
			conn = nil
		}
		if l.Pause > 0 {
			l.pause(l.Pause)
		}
	}
	if conn != nil {
		conn.Close()
	}
}

// DialIMAP logs in by IMAP as one of the two users.
func (l *Load) DialIMAP(user int) (*imapwire.Client, error) {
	c, err := imapwire.Dial(l.s.Env["PEYK_IMAPS"], l.tls, patience)
	for again := time.Now().Add(10 * time.Second); errors.Is(err, unix.ECONNREFUSED) && time.Now().Before(again); {
		time.Sleep(10 * time.Millisecond) // it was killed and is about to be started
		c, err = imapwire.Dial(l.s.Env["PEYK_IMAPS"], l.tls, patience)
	}
	if err != nil {
		return nil, err
	}
	if _, err := l.ok(c, fmt.Sprintf("LOGIN %s %s", l.s.Env[fmt.Sprint("PEYK_USER", user)], l.s.Env[fmt.Sprint("PEYK_PASS", user)])); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// ok sends a command that must succeed.
func (l *Load) ok(c *imapwire.Client, command string) (*imapwire.Answer, error) {
	c.SetDeadline(time.Now().Add(patience))
	a, err := c.Do(command)
	if err == nil && a.Kind != "OK" {
		l.mu.Lock()
		l.refused[a.Kind+" ["+a.Code+"]"]++
		l.mu.Unlock()
		err = fmt.Errorf("%.100q: %q", command, a.Raw)
	}
	return a, err
}

// reader is the second user at an IMAP client: new mail is read, flagged and
// filed, and drafts are kept.
func (l *Load) reader() {
	r := rand.New(rand.NewPCG(1000, 1))
	for i := 0; !l.over(); i++ {
		c, err := l.DialIMAP(2)
		if err != nil {
			l.pause(50 * time.Millisecond)
			continue
		}
		l.readIn(c, r, i)
		c.Close()
	}
}

func (l *Load) readIn(c *imapwire.Client, r *rand.Rand, session int) {
	c.Do("CREATE Filed")
	for i := range 50 {
		if l.over() {
			return
		}
		if _, err := l.ok(c, "SELECT INBOX"); err != nil {
			return
		}
		id := fmt.Sprintf("draft-%d-%d", session, i)
		text := l.Make(r, id, l.MessageSize)
		if _, err := l.ok(c, "APPEND INBOX (\\Draft) "+imapwire.Lit(string(text))); err == nil {
			l.Promise(id)
			l.note("APPEND")
		}
		for _, command := range []string{"NOOP", "FETCH * (UID FLAGS BODY.PEEK[])", "STORE * +FLAGS (\\Seen)", "SEARCH UNSEEN", "MOVE * Filed"} {
			if _, err := l.ok(c, command); err != nil {
				return
			}
		}
		l.note("filed")
		if l.Empty && !(l.empty(c, "Filed") && l.empty(c, "INBOX")) {
			return
		}
		l.pause(20 * time.Millisecond)
	}
}

// empty reads a folder and removes what it read. It reports whether that was
// answered.
func (l *Load) empty(c *imapwire.Client, box string) bool {
	selected, err := l.ok(c, "SELECT "+box)
	if err != nil {
		return false
	}
	validity := uint64(0)
	for _, r := range selected.Data {
		if r.Code == "UIDVALIDITY" {
			validity = r.CodeArgs[0].Num()
		}
	}
	all, err := l.ok(c, "UID FETCH 1:* (UID BODY.PEEK[])")
	if err != nil {
		return false
	}
	texts := map[uint64][]byte{}
	for _, r := range all.Data {
		uid, _ := r.Item("UID")
		if text, ok := r.Item("BODY[]"); ok {
			texts[uid.Num()] = []byte(text.Text)
		}
	}
	if len(texts) == 0 {
		return true
	}
	set := fmt.Sprint(slices.Min(slices.Collect(maps.Keys(texts))), ":", slices.Max(slices.Collect(maps.Keys(texts))))
	set = strings.ReplaceAll(set, " ", "")
	if _, err = l.ok(c, "UID STORE "+set+" +FLAGS.SILENT (\\Deleted)"); err == nil {
		_, err = l.ok(c, "UID EXPUNGE "+set)
	}
	for uid, text := range texts {
		if err == nil {
			l.See(fmt.Sprint("imap ", box, validity, " ", uid), text)
			l.note("IMAP deleted")
		} else if m := idOf.FindSubmatch(text); m != nil {
			l.Doubt(string(m[1]))
		}
	}
	return err == nil
}

// popper is the first user at a POP3 client: mail is fetched and deleted.
func (l *Load) popper() {
	for !l.over() {
		if c, err := DialPOP3(l.s.Env["PEYK_POP3S"], l.tls, l.s.Env["PEYK_USER1"], l.s.Env["PEYK_PASS1"]); err == nil {
			l.fetch(c)
			c.Close()
		}
		l.pause(100 * time.Millisecond)
	}
}

// fetch takes at most so many messages a session.
func (l *Load) fetch(c *Conn) {
	stat, err := c.Ask("STAT")
	if err != nil {
		return
	}
	var n int
	fmt.Sscan(stat, &n)
	taken := map[string][]byte{} // by UIDL
	for i := 1; i <= min(n, 200); i++ {
		uidl, err := c.Ask(fmt.Sprint("UIDL ", i))
		if err != nil {
			return
		}
		text, err := c.Retrieve(i)
		if err != nil {
			return
		}
		if _, err := c.Ask(fmt.Sprint("DELE ", i)); err != nil {
			return
		}
		taken[strings.Fields(uidl)[1]] = text
	}
	_, err = c.Ask("QUIT")
	for uidl, text := range taken {
		if err == nil {
			l.See("pop "+uidl, text)
			l.note("POP3 deleted")
		} else if m := idOf.FindSubmatch(text); m != nil {
			l.Doubt(string(m[1]))
		}
	}
}

// Look notes every message that lies in the two Maildirs now, in all folders.
// Call it when the load has stopped.
func (l *Load) Look() {
	for _, user := range []string{"1", "2"} {
		root := l.s.Env["PEYK_MAILDIR"+user]
		folders, _ := filepath.Glob(filepath.Join(root, ".*"))
		for _, dir := range append(folders, root) {
			for _, path := range sandbox.Mail(dir) {
				text, err := os.ReadFile(path)
				if errors.Is(err, os.ErrNotExist) {
					continue // moved meanwhile; the next look finds it
				}
				if err != nil {
					l.Wrong("%v", err)
					continue
				}
				base, _, _ := strings.Cut(filepath.Base(path), ":")
				l.See("file "+dir+"/"+base, text)
			}
		}
	}
}

// Arrive waits until everything promised was seen, and returns the verdict.
func (l *Load) Arrive(within time.Duration) Verdict {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if l.Look(); l.Missing() == 0 {
			break
		}
	}
	return l.Verdict()
}
