package dovecotauth

import (
	"bufio"
	"context"
	"net"
	"strconv"

	"peyk/internal/eventlog"
)

// master is one connection of a master socket.
type master struct {
	server *Server
	out    out
	buf    []byte // answers that are not sent yet
}

func (s *Server) serveMaster(ctx context.Context, conn net.Conn) {
	peer := peerOf(conn)
	if s.Allow != nil && !s.Allow(peer) {
		s.Log.Event(eventlog.Refused, "reason", "peer", "uid", peer.UID, "pid", peer.PID)
		return
	}
	m := &master{server: s, out: out{conn: conn}}
	m.out.write([]byte("VERSION\t" + major + "\t" + masterMinor + "\nSPID\t" + pid() + "\n"))
	r := bufio.NewReaderSize(conn, maxRequest)
	err := expectVersion(r)
	for err == nil {
		var msg message
		msg, err = readMessage(r)
		if err == nil {
			err = m.command(ctx, msg)
		}
		if r.Buffered() == 0 || len(m.buf) > maxReply {
			m.flush()
		}
	}
	m.flush()
	s.complain(conn, err)
}

func (m *master) flush() {
	if len(m.buf) > 0 {
		m.out.write(m.buf)
		m.buf = m.buf[:0]
	}
}

func (m *master) answer(l *line) error {
	m.buf = append(m.buf, l.end()...)
	return nil
}

// command obeys one line. An error ends the connection.
func (m *master) command(ctx context.Context, msg message) error {
	id, ok := msg.id()
	if !ok {
		return garbage("a request without a number")
	}
	switch msg.command {
	case "USER":
		return m.user(ctx, id, msg)
	case "PASS":
		return m.pass(ctx, id, msg)
	case "LIST":
		return m.list(ctx, id)
	case "REQUEST":
		return m.request(ctx, id, msg)
	case "CACHE-FLUSH":
		return m.answer(newLine("OK", id).word("0")) // there is none
	case "CPID":
		return nil // some masters introduce themselves like clients
	}
	return garbage("an unknown request")
}

// user answers who an account is.
func (m *master) user(ctx context.Context, id uint32, msg message) error {
	u, found, err := m.server.Directory.User(ctx, msg.fields(2)["service"], msg.word(1))
	if err != nil {
		return m.fail(id, msg, err)
	}
	if !found {
		return m.answer(newLine("NOTFOUND", id))
	}
	return m.answer(userLine(id, u))
}

// pass answers whether an account has a password, and never which.
func (m *master) pass(ctx context.Context, id uint32, msg message) error {
	u, found, err := m.server.Directory.User(ctx, msg.fields(2)["service"], msg.word(1))
	if err != nil {
		return m.fail(id, msg, err)
	}
	if !found {
		return m.answer(newLine("NOTFOUND", id))
	}
	return m.answer(newLine("PASS", id).field("user", u.Name))
}

func (m *master) fail(id uint32, msg message, err error) error {
	m.server.Log.Event(eventlog.Trouble, "reason", "lookup", "user", msg.word(1), "error", err)
	return m.answer(newLine("FAIL", id).word("temp").word("reason=the tables cannot be read; the server's log knows more"))
}

// list answers who there is.
func (m *master) list(ctx context.Context, id uint32) error {
	names, err := m.server.Directory.List(ctx)
	for _, name := range names {
		m.answer(newLine("LIST", id).word(name))
		if len(m.buf) > maxReply {
			m.flush()
		}
	}
	l := newLine("DONE", id)
	if err != nil {
		m.server.Log.Event(eventlog.Trouble, "reason", "list", "error", err)
		l.word("fail")
	}
	return m.answer(l)
}

// request hands a finished login over to the process that serves the user:
// number, then the client's identity, the login's number and the cookie.
func (m *master) request(ctx context.Context, id uint32, msg message) error {
	client, err1 := strconv.ParseUint(msg.word(1), 10, 32)
	login, err2 := strconv.ParseUint(msg.word(2), 10, 32)
	if err1 != nil || err2 != nil {
		return garbage("a REQUEST without numbers")
	}
	f, ok := m.server.claim(uint32(client), uint32(login), msg.word(3))
	if !ok {
		return m.answer(newLine("FAIL", id))
	}
	u, found, err := m.server.Directory.User(ctx, f.service, f.user)
	if err != nil {
		return m.fail(id, msg, err)
	}
	if !found {
		return m.answer(newLine("NOTFOUND", id))
	}
	return m.answer(userLine(id, u))
}

// userLine is the answer that knows an account.
func userLine(id uint32, u User) *line {
	fields := make(map[string]string, len(u.Fields)+5)
	for name, v := range u.Fields {
		fields[name] = v
	}
	for name, v := range map[string]string{"uid": idText(u.UID), "gid": idText(u.GID), "home": u.Home, "mail": u.Mail, "quota_rule": u.Quota} {
		if v != "" {
			fields[name] = v
		}
	}
	l := newLine("USER", id).word(u.Name)
	appendFields(l, fields)
	return l
}

func idText(id int) string {
	if id < 0 {
		return ""
	}
	return strconv.Itoa(id)
}
