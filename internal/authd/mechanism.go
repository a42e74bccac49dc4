package authd

import (
	"context"
	"slices"
	"strings"

	"peyk/internal/control"
	"peyk/internal/dovecotauth"
	"peyk/internal/passhash"
	"peyk/internal/table"
)

// A mechanism is one way to log in.
type mechanism struct {
	dovecotauth.Mechanism
	// run holds the dialogue, and notes in the attempt who logs in.
	run func(ctx context.Context, a *attempt, r *dovecotauth.Request) error
}

// mechanisms are all that we know, in the order of the offer. Those with
// channel binding are private because only our own daemons can pass one on.
func mechanisms() []mechanism {
	plain := []string{dovecotauth.FlagPlaintext}
	mutual := []string{dovecotauth.FlagMutual}
	bound := []string{dovecotauth.FlagMutual, dovecotauth.FlagChannelBinding, dovecotauth.FlagPrivate}
	return []mechanism{
		{dovecotauth.Mechanism{Name: "PLAIN", Flags: plain}, byPassword(readPlain)},
		{dovecotauth.Mechanism{Name: "LOGIN", Flags: plain}, byPassword(readLogin)},
		{dovecotauth.Mechanism{Name: "SCRAM-SHA-256-PLUS", Flags: bound}, bySCRAM(passhash.SHA256(), true)},
		{dovecotauth.Mechanism{Name: "SCRAM-SHA-256", Flags: mutual}, bySCRAM(passhash.SHA256(), false)},
		{dovecotauth.Mechanism{Name: "SCRAM-SHA-1-PLUS", Flags: bound}, bySCRAM(passhash.SHA1(), true)},
		{dovecotauth.Mechanism{Name: "SCRAM-SHA-1", Flags: mutual}, bySCRAM(passhash.SHA1(), false)},
		{dovecotauth.Mechanism{Name: "EXTERNAL"}, byCertificate},
		{dovecotauth.Mechanism{Name: "OAUTHBEARER", Flags: plain}, byToken("OAUTHBEARER")},
		{dovecotauth.Mechanism{Name: "XOAUTH2", Flags: plain}, byToken("XOAUTH2")},
	}
}

// Mechanisms returns what logins may use now, in the order of the offer.
func (s *Server) Mechanisms() []dovecotauth.Mechanism {
	names := s.offered()
	var offer []dovecotauth.Mechanism
	for _, m := range mechanisms() {
		if slices.Contains(names, m.Name) {
			offer = append(offer, m.Mechanism)
		}
	}
	return offer
}

// allows reports whether a mechanism may be used. One that is not offered,
// because it would not work for everybody, may work for this account.
func (set *settings) allows(name string) bool {
	if len(set.mechanisms) > 0 {
		return slices.Contains(set.mechanisms, name)
	}
	switch name {
	case "EXTERNAL":
		return set.certificates
	case "OAUTHBEARER", "XOAUTH2":
		return set.tokens
	}
	return true
}

// offered returns the names of what may be used now: what the control
// auth-mechanisms says, or else what works. SCRAM would lock out whoever has
// no keys for it, as many clients take the best mechanism and try no other.
func (s *Server) offered() []string {
	set := s.settings.Load()
	if len(set.mechanisms) > 0 {
		return set.mechanisms
	}
	names := []string{"PLAIN", "LOGIN"}
	for _, hash := range []passhash.SCRAM{passhash.SHA256(), passhash.SHA1()} {
		if s.allHaveKeys(hash) {
			names = append(names, hash.String()+"-PLUS", hash.String())
		}
	}
	if set.certificates {
		names = append(names, "EXTERNAL")
	}
	if set.tokens {
		names = append(names, "OAUTHBEARER", "XOAUTH2")
	}
	return names
}

// allHaveKeys reports whether every account with a password can use SCRAM. One
// with app passwords cannot: which of them a client means shows in the password
// alone.
func (s *Server) allHaveKeys(hash passhash.SCRAM) bool {
	domains, err := s.tables.List()
	if err != nil || !s.backends.Load().everywhere() {
		return false
	}
	for _, domain := range domains {
		users, err := s.tables.Users(domain)
		if err != nil || s.tables.MayHaveAppPasswords(domain) || slices.ContainsFunc(users, func(u table.User) bool { return u.Password != "" && !mayHaveKeys(u, hash) }) {
			return false
		}
	}
	return true
}

// mayHaveKeys looks at an account's entry without any work.
func mayHaveKeys(u table.User, hash passhash.SCRAM) bool {
	scheme := passhash.Scheme(u.Password)
	return u.Fields[table.SCRAMField(hash)] != "" || scheme == hash.String() || scheme == "PLAIN" || scheme == "CLEARTEXT" || scheme == "CLEAR"
}

// chosen returns the mechanisms of the control auth-mechanisms.
func chosen(c *control.Config) []string {
	var names []string
	for _, m := range mechanisms() {
		if slices.ContainsFunc(c.Lines(control.AuthMechanisms), func(line string) bool { return strings.EqualFold(line, m.Name) }) {
			names = append(names, m.Name)
		}
	}
	return names
}

// byPassword is a mechanism that reads a name and a password.
func byPassword(read func(context.Context, *dovecotauth.Request) (credentials, error)) func(context.Context, *attempt, *dovecotauth.Request) error {
	return func(ctx context.Context, a *attempt, r *dovecotauth.Request) error {
		c, err := read(ctx, r)
		if err != nil {
			return err
		}
		return a.password(ctx, c)
	}
}
