package dovecotauth

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"peyk/internal/status"
)

// Auth is a connection, made when needed and shared by any number of
// sessions, to a server's client socket.
type Auth struct {
	mux mux

	mu         sync.Mutex
	mechanisms []Mechanism // of the last handshake
}

// NewAuth returns a client of the socket. It connects on the first request,
// and again after a failure.
func NewAuth(socket string, o Options) *Auth {
	a := &Auth{}
	a.mux = mux{socket: socket, options: o, handshake: a.handshake}
	return a
}

// DialAuth is NewAuth with default options, connected already.
func DialAuth(ctx context.Context, socket string) (*Auth, error) {
	a := NewAuth(socket, Options{})
	_, _, err := a.mux.connected(ctx)
	return a, err
}

// Mechanisms returns the SASL mechanisms that the server offers, by name.
func (a *Auth) Mechanisms(ctx context.Context) ([]string, error) {
	if _, _, err := a.mux.connected(ctx); err != nil {
		return nil, noAnswer(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	names := make([]string, len(a.mechanisms))
	for i, m := range a.mechanisms {
		names[i] = m.Name
	}
	return names, nil
}

// Authenticate tries one login with a mechanism that needs a single response,
// such as PLAIN; response is not encoded. service is smtp, imap or pop3. The
// error is a *status.Error: 535 5.7.8 when the login is refused, 454 4.7.0
// when nobody can tell now, 500 5.5.6 when the response is too long to ask.
func (a *Auth) Authenticate(ctx context.Context, service, mech string, response []byte, info AuthInfo) (Login, error) {
	return a.Exchange(ctx, service, mech, response, info, func([]byte) ([]byte, error) {
		return nil, refused(errors.New("the server asked for more than the mechanism has"))
	})
}

// Exchange tries one login with a mechanism of any length: next is called with
// each challenge and returns the response; its error ends the login and is
// returned. A nil initial means that the client sent no initial response.
func (a *Auth) Exchange(ctx context.Context, service, mech string, initial []byte, info AuthInfo, next func(challenge []byte) ([]byte, error)) (Login, error) {
	x := exchange{mux: &a.mux, next: next, request: func(id uint32) []byte {
		return authLine(id, service, mech, initial, info)
	}}
	if len(x.request(0)) > maxRequest-10 { // the id takes up to ten digits
		return Login{}, errResponseLong
	}
	for {
		login, again, err := x.try(ctx)
		if !again {
			return login, err
		}
	}
}

// Close ends the connection; requests under way fail.
func (a *Auth) Close() error { return a.mux.close() }

// errResponseLong is RFC 4954 §4: the server cannot take such a response.
var errResponseLong = status.New(500, "5.5.6", "cannot use this authentication response: it is too long")

// noAnswer is the status of a login about which nobody can tell anything.
func noAnswer(err error) *status.Error {
	return status.New(454, "4.7.0", "cannot check logins now, try again later").Because("ask the authentication server", err)
}

// refused is the status of a login that is not good; the network learns no
// more than that.
func refused(err error) *status.Error {
	return status.New(535, "5.7.8", "cannot log in: user name or password is wrong").Because("log in", err)
}

// authLine builds an AUTH request. With nologin the server keeps nothing for
// a master to pick up. resp must be the last word.
func authLine(id uint32, service, mech string, initial []byte, info AuthInfo) []byte {
	l := newLine("AUTH", id).word(mech).field("service", service).word("nologin").word(WordObeys)
	if info.Secured {
		l.word("secured")
	}
	l.field("lip", ipText(info.LocalIP)).field("rip", ipText(info.RemoteIP)).field("session", info.Session)
	if info.Asks {
		l.word(WordCode + "=" + info.Code)
	}
	info.appendChannel(l)
	if initial != nil {
		l.word("resp=" + base64.StdEncoding.EncodeToString(initial))
	}
	return l.end()
}

func ipText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

// exchange is one login.
type exchange struct {
	mux     *mux
	request func(id uint32) []byte
	next    func(challenge []byte) ([]byte, error)
	retried bool
}

// try runs the login once. again is true when the connection, kept from
// earlier, turned out to be dead before the server said anything.
func (x *exchange) try(ctx context.Context) (login Login, again bool, err error) {
	c, err := x.mux.call(ctx, x.request)
	if c != nil {
		defer c.finish()
	}
	said := false
	for err == nil {
		var m message
		m, err = x.reply(ctx, c)
		if err != nil {
			break
		}
		said = true
		if m.command != "CONT" {
			login, err = verdict(m)
			return login, false, err
		}
		if err := x.proceed(c, m); err != nil {
			c.link.send(newLine("CANCEL", c.id).end(), x.mux.options.timeout())
			return Login{}, false, err
		}
	}
	if c != nil && (ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)) && c.link.alive() {
		c.link.send(newLine("CANCEL", c.id).end(), x.mux.options.timeout())
	}
	if c != nil && !c.fresh && !said && !x.retried && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
		x.retried = true
		return Login{}, true, nil
	}
	return Login{}, false, noAnswer(err)
}

// reply waits for the server's next answer, for a while.
func (x *exchange) reply(ctx context.Context, c *call) (message, error) {
	ctx, cancel := context.WithTimeout(ctx, x.mux.options.timeout())
	defer cancel()
	return c.reply(ctx)
}

// proceed answers a challenge.
func (x *exchange) proceed(c *call, m message) error {
	challenge, err := base64.StdEncoding.DecodeString(m.word(1))
	if err != nil {
		return noAnswer(garbage("a challenge that is not base64"))
	}
	response, err := x.next(challenge)
	if err != nil {
		return err
	}
	l := newLine("CONT", c.id).word(base64.StdEncoding.EncodeToString(response)).end()
	if len(l) > maxRequest {
		clear(l)
		return errResponseLong
	}
	if err := c.link.send(l, x.mux.options.timeout()); err != nil {
		return noAnswer(err)
	}
	return nil
}

// verdict turns the last reply into a login. Only an OK that names the user
// lets anybody in.
func verdict(m message) (Login, error) {
	f := m.fields(1)
	switch m.command {
	case "OK":
		if f["user"] == "" {
			return Login{}, noAnswer(garbage("OK without a user"))
		}
		return Login{User: f["user"], Fields: f}, nil
	case "FAIL":
		why := fmt.Errorf("refused: %s", firstOf(f["reason"], f["code"], "no reason given"))
		if _, temp := f["temp"]; temp || f["code"] == "temp_fail" {
			return Login{}, noAnswer(why)
		}
		if f["code"] == CodeNeedCode {
			why = ErrNeedCode
		}
		return Login{}, refused(why)
	}
	return Login{}, noAnswer(garbage("neither OK nor FAIL"))
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// handshake introduces us and reads what the server offers.
func (a *Auth) handshake(conn net.Conn, r *bufio.Reader) error {
	id, err := clientID(a.mux.options.Rand)
	if err != nil {
		return err
	}
	hello := "VERSION\t" + major + "\t" + clientMinor + "\nCPID\t" + strconv.FormatUint(uint64(id), 10) + "\n"
	if _, err := io.WriteString(conn, hello); err != nil {
		return err
	}
	mechanisms, err := readOffer(r)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mechanisms = mechanisms
	return nil
}

// maxHandshake is the most lines that a handshake may have.
const maxHandshake = 200

// readOffer reads the server's handshake up to DONE.
func readOffer(r *bufio.Reader) (mechanisms []Mechanism, err error) {
	for n := 0; n < maxHandshake; n++ {
		m, err := readMessage(r)
		if err != nil {
			return nil, err
		}
		switch {
		case n == 0 && !m.isVersion():
			return nil, garbage("no version 1 to begin with")
		case m.command == "MECH" && m.word(0) != "":
			mechanisms = append(mechanisms, Mechanism{Name: strings.ToUpper(m.word(0)), Flags: m.words[1:]})
		case m.command == "DONE":
			return mechanisms, nil
		}
	}
	return nil, garbage("an endless handshake")
}

// clientID returns a number that tells this connection from all others of the
// server's clients. The process id, which is customary, would not: Dovecot
// refuses a second connection with the same one.
func clientID(random io.Reader) (uint32, error) {
	if random == nil {
		random = rand.Reader
	}
	var b [4]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b[:])>>1 | 1, nil
}
