package dovecotauth

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"peyk/internal/status"
)

// maxCached is the most accounts that a UserDB remembers.
const maxCached = 10000

// User is what a server knows about an account.
type User struct {
	Name     string            // canonical name
	UID, GID int               // -1 = not said
	Home     string            // "" = not said
	Mail     string            // mail location such as maildir:/var/mail/x; "" = not said
	Quota    string            // quota rule such as *:bytes=1073741824; "" = none
	Fields   map[string]string // everything that the answer carried; not to be changed
}

// Maildir returns the directory that the mail location names, such as
// maildir:~/Mail:INDEX=/x, or Maildir in the home where there is no location;
// "" where that is no absolute path or another kind of mailbox.
func (u User) Maildir() string {
	dir := "~/Maildir"
	if u.Mail != "" {
		rest, ok := strings.CutPrefix(u.Mail, "maildir:")
		if !ok {
			return ""
		}
		dir, _, _ = strings.Cut(rest, ":")
	}
	if rest, ok := strings.CutPrefix(dir, "~/"); ok && u.Home != "" {
		dir = filepath.Join(u.Home, rest)
	}
	if !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Clean(dir)
}

// UserDB is a connection, made when needed and shared, to a server's master
// socket.
type UserDB struct {
	mux mux

	mu     sync.Mutex
	cached map[cacheKey]cachedUser
}

type cacheKey struct{ service, user string }

type cachedUser struct {
	user  User
	found bool
	until time.Time
}

// NewUserDB returns a client of the socket. It connects on the first request,
// and again after a failure.
func NewUserDB(socket string, o Options) *UserDB {
	u := &UserDB{}
	u.mux = mux{socket: socket, options: o, handshake: masterHandshake}
	return u
}

// Lookup asks for one account. An error is a *status.Error, 451 4.3.0: nobody
// can tell now.
func (u *UserDB) Lookup(ctx context.Context, service, user string) (account User, found bool, err error) {
	key := cacheKey{service, user}
	if c, ok := u.recall(key); ok {
		return c.user, c.found, nil
	}
	l := newLine("USER", 0).word(user).field("service", service)
	if len(l.b) > maxRequest-12 {
		return User{}, false, nil // longer than any name; the server would hang up
	}
	err = u.ask(ctx, func(id uint32) []byte { return newLine("USER", id).word(user).field("service", service).end() },
		func(m message) (more bool, err error) {
			account, found, err = userOf(m)
			return false, err
		})
	if err != nil {
		return User{}, false, unavailable(err)
	}
	u.remember(key, account, found)
	return account, found, nil
}

// List returns the names of all accounts.
func (u *UserDB) List(ctx context.Context, service string) (names []string, err error) {
	err = u.ask(ctx, func(id uint32) []byte { return newLine("LIST", id).field("service", service).end() },
		func(m message) (more bool, err error) {
			switch {
			case m.command == "LIST":
				names = append(names, m.word(1))
				return true, nil
			case m.command == "DONE" && m.word(1) != "fail":
				return false, nil
			}
			return false, garbage("a list without its end")
		})
	if err != nil {
		return nil, unavailable(err)
	}
	return names, nil
}

// ask sends a request and hands the replies to take until it wants no more.
// A connection kept from earlier may turn out to be dead: then it is made
// anew, once.
func (u *UserDB) ask(ctx context.Context, build func(uint32) []byte, take func(message) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, u.mux.options.timeout())
	defer cancel()
	for retried := false; ; retried = true {
		c, replies, err := u.askOnce(ctx, build, take)
		if err == nil || c == nil || c.fresh || retried || replies > 0 || ctx.Err() != nil {
			return err
		}
	}
}

func (u *UserDB) askOnce(ctx context.Context, build func(uint32) []byte, take func(message) (bool, error)) (c *call, replies int, err error) {
	c, err = u.mux.call(ctx, build)
	if c != nil {
		defer c.finish()
	}
	for more := true; more && err == nil; replies++ {
		var m message
		m, err = c.reply(ctx)
		if err != nil {
			return c, replies, err
		}
		more, err = take(m)
	}
	return c, replies, err
}

// userOf reads the answer to a USER request.
func userOf(m message) (User, bool, error) {
	switch m.command {
	case "NOTFOUND":
		return User{}, false, nil
	case "USER":
		return parseUser(m)
	case "FAIL":
		return User{}, false, status.New(451, "4.3.0", "failed: "+firstOf(m.fields(1)["reason"], "no reason given"))
	}
	return User{}, false, garbage("no answer about a user")
}

func parseUser(m message) (User, bool, error) {
	f := m.fields(2)
	user := User{Name: m.word(1), Home: f["home"], Mail: f["mail"], Quota: f["quota_rule"], Fields: f}
	var ok bool
	if user.Name == "" {
		return User{}, false, garbage("a user without a name")
	}
	if user.UID, ok = parseID(f["uid"]); !ok {
		return User{}, false, garbage("a uid that is no number")
	}
	if user.GID, ok = parseID(f["gid"]); !ok {
		return User{}, false, garbage("a gid that is no number")
	}
	return user, true, nil
}

func parseID(s string) (int, bool) {
	if s == "" {
		return -1, true
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil
}

// unavailable is the status of a question that nobody answered.
func unavailable(err error) *status.Error {
	return status.New(451, "4.3.0", "cannot look up users now, try again later").Because("ask the user database", err)
}

func (u *UserDB) recall(key cacheKey) (cachedUser, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c, ok := u.cached[key]
	return c, ok && u.mux.options.now().Before(c.until)
}

func (u *UserDB) remember(key cacheKey, user User, found bool) {
	keep := u.mux.options.Negative
	if found {
		keep = u.mux.options.Positive
	}
	if keep <= 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cached == nil || len(u.cached) >= maxCached {
		u.cached = make(map[cacheKey]cachedUser) // seconds of memory: not worth an order
	}
	u.cached[key] = cachedUser{user, found, u.mux.options.now().Add(keep)}
}

// Forget empties the cache.
func (u *UserDB) Forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cached = nil
}

// Close ends the connection; requests under way fail.
func (u *UserDB) Close() error { return u.mux.close() }

// masterHandshake introduces us on a master socket.
func masterHandshake(conn net.Conn, r *bufio.Reader) error {
	if _, err := io.WriteString(conn, "VERSION\t"+major+"\t"+masterMinor+"\n"); err != nil {
		return err
	}
	for n := 0; n < maxHandshake; n++ {
		m, err := readMessage(r)
		if err != nil {
			return err
		}
		if n == 0 && !m.isVersion() {
			return garbage("no version 1 to begin with")
		}
		if m.command == "SPID" {
			return nil
		}
	}
	return garbage("an endless handshake")
}
