// Package dovecotauth speaks the Dovecot authentication protocol, version 1.2,
// from both ends: the client side, on which a mail server asks whether a login
// is good, and the master side, on which it asks who exists and where the mail
// lives. Dovecot's auth and Peyk's authd answer the same requests; Dovecot's
// and Postfix's daemons ask them.
//
// Lines are words separated by tabs; \001 escapes what may not stand in a
// word. Whatever cannot be understood is a temporary failure, never a yes.
//
// No error and no log line of this package holds a password or a response.
package dovecotauth

import (
	"io"
	"net/netip"
	"time"
)

// Options tune a client. The zero value is good for production.
type Options struct {
	Timeout  time.Duration    // for one request, and for connecting; 0 = 30 s
	Positive time.Duration    // how long UserDB remembers that a user exists; 0 = not at all
	Negative time.Duration    // how long it remembers that none does; 0 = not at all
	Now      func() time.Time // clock of the cache and of the pauses; nil = time.Now
	Rand     io.Reader        // for the client's identity; nil = crypto/rand
}

// AuthInfo is what the server may know about the session that logs in.
type AuthInfo struct {
	Secured  bool // the client's connection is encrypted, or needs no encryption
	RemoteIP netip.Addr
	LocalIP  netip.Addr
	Session  string // id of the session, for the log
	Asks     bool   // whoever logs in can be asked for the code of a second factor
	Code     string // what the answer was

	Bindings    map[string][]byte // channel bindings of the connection, by kind
	Certificate *Certificate      // that the client has shown; nil = none
}

// Login is a login that succeeded.
type Login struct {
	User   string            // canonical name
	Fields map[string]string // everything that the answer carried; a flag has the value ""
}
