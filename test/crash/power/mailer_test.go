package power_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// A mailer sends messages over one connection of SMTP or LMTP.
type mailer struct {
	conn   net.Conn
	text   *textproto.Conn
	name   string
	copies int // extra copies that a cut may make
	r      *rand.Rand
	n      int
}

// mailerOn greets a server: verb is EHLO or LHLO.
func mailerOn(conn net.Conn, verb, name string, seed uint64) (*mailer, error) {
	conn.SetDeadline(time.Now().Add(patience))
	m := &mailer{conn: conn, text: textproto.NewConn(conn), name: name, r: rand.New(rand.NewPCG(seed, 2))}
	if verb == "EHLO" {
		m.copies = 1 // the queue may deliver again what it has delivered
	}
	if _, _, err := m.text.ReadResponse(220); err != nil {
		return nil, err
	}
	return m, m.command(250, verb+" client.example.net")
}

func (m *mailer) command(want int, line string) error {
	if err := m.text.PrintfLine("%s", line); err != nil {
		return err
	}
	_, _, err := m.text.ReadResponse(want)
	return err
}

// send sends one message to one account and keeps the book.
func (m *mailer) send(to *book) error {
	m.n++
	id := fmt.Sprintf("%s-%d", m.name, m.n)
	message := compose(m.r, id)
	return to.deliver(id, m.copies, func() error {
		err := errors.Join(m.command(250, "MAIL FROM:<sender@example.net>"), m.command(250, "RCPT TO:<"+to.name+"@"+domain+">"), m.command(354, "DATA"))
		if err != nil {
			return err
		}
		w := m.text.DotWriter()
		if _, err := w.Write(message); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		_, _, err = m.text.ReadResponse(250)
		return err
	})
}

// An edit is one change of the accounts and aliases by mailctl.
type edit struct {
	begin, end int64
	name       string
	add        bool
}

// A clerk's office: edits come one after the other.
type office struct {
	s     *system
	clock func() int64
	edits []*edit
	n     int
}

// act adds an alias, or removes the one before the last; now and then it adds
// an account, which costs a password hash.
func (f *office) act() error {
	f.n++
	alias := fmt.Sprintf("a%d@%s", f.n, domain)
	switch f.n % 8 {
	case 3:
		user := fmt.Sprintf("n%d@%s", f.n, domain)
		return f.edit(user, true, "user", "add", "--generate", user)
	case 6, 7:
		gone := fmt.Sprintf("a%d@%s", f.n-2, domain)
		return f.edit(gone, false, "alias", "remove", gone)
	}
	return f.edit(alias, true, "alias", "add", alias, "u1@"+domain)
}

func (f *office) edit(name string, add bool, args ...string) error {
	e := &edit{begin: f.clock(), end: never, name: name, add: add}
	f.edits = append(f.edits, e)
	if _, err := f.s.once("", "mailctl", args...); err != nil {
		return err
	}
	e.end = f.clock()
	return nil
}

// judge compares what mailctl lists with the edits.
func (f *office) judge(s *system, m moment, o *outcome) {
	found := map[string]bool{}
	for _, what := range []string{"user", "alias"} {
		list, err := s.once("", "mailctl", what, "list")
		if err != nil {
			o.fault("%v", err)
		}
		for line := range strings.Lines(list) {
			found[strings.TrimSuffix(strings.Fields(line)[0], ":")] = true
		}
	}
	last := map[string]*edit{}
	for _, e := range f.edits {
		if e.end <= m.from {
			last[e.name] = e
		}
	}
	for _, e := range f.edits {
		if e.end > m.from && e.begin <= m.to {
			delete(last, e.name)
			delete(found, e.name)
		}
	}
	for name, e := range last {
		if found[name] != e.add {
			o.fault("mailctl: %s is there: %v, expected %v", name, found[name], e.add)
		}
	}
	for i := range accounts {
		if !found[accountName(i)+"@"+domain] {
			o.fault("mailctl: the account %s is gone", accountName(i))
		}
	}
}
