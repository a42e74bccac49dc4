package authd

import (
	"errors"
	"sync"
	"time"

	"peyk/internal/authstate"
	"peyk/internal/passhash"
	"peyk/internal/table"
	"peyk/internal/totp"
)

// cannotAsk are the protocols in which nobody can be asked for a code, however
// the server that speaks them may think.
var cannotAsk = map[string]bool{"imap": true, "pop3": true, "smtp": true, "sieve": true}

// secondFactor applies what protects the main password: once there is a second
// factor or an app password it opens no service that cannot ask for a code,
// and with a second factor the others want the code.
func (a *attempt) secondFactor() error {
	if a.app != nil || a.strong {
		return nil
	}
	factor, has, err := a.server.tables.SecondFactor(a.user)
	if err != nil {
		return err
	}
	apps, err := a.server.tables.AppPasswords(a.user)
	if err != nil {
		return err
	}
	switch {
	case !has && len(apps) == 0:
		return nil
	case !a.asks || cannotAsk[protocolOf(a.service)]:
		return needFactor
	case !has:
		return nil
	case a.code == "":
		return needCode
	}
	return a.checkCode(factor)
}

// checkCode uses the code of a second factor up, if it is right.
func (a *attempt) checkCode(f table.SecondFactor) error {
	s, user, now := a.server, a.user.String(), a.server.options.Now()
	if !s.wrongCodes.mayTry(user, now) {
		return tooManyCodes
	}
	err := s.useCode(f, user, a.code, now)
	switch {
	case errors.Is(err, authstate.ErrUsed):
		return usedCode
	case err == badCode:
		s.wrongCodes.add(user, now)
	case err == nil:
		s.wrongCodes.forget(user)
	}
	return err
}

func (s *Server) useCode(f table.SecondFactor, user, code string, now time.Time) error {
	if totp.IsCode(code) {
		step, ok := totp.Check(f.Secret, code, now, 0)
		if !ok {
			return badCode
		}
		return s.state.UseStep(user, step)
	}
	secret, ok := passhash.PlainSecret(code, table.RecoveryGroups)
	if !ok {
		return badCode
	}
	for _, hash := range f.Recovery {
		good, err := passhash.Verify(hash, secret)
		if err != nil {
			return err
		}
		if good {
			return s.state.UseCode(user, hash)
		}
	}
	return badCode
}

// wrongCodes slows the guessing of codes down (RFC 4226 §7.3): only who knows
// the password gets here, so the owner is hardly ever among the guessers. After
// n wrong codes in a row the next one is looked at n*n seconds later.
type wrongCodes struct {
	mu    sync.Mutex
	users map[string]wrongCode
}

type wrongCode struct {
	count int
	last  time.Time
}

// freeCodes is how many wrong codes cost no waiting, and maxGuessed how many
// accounts are remembered.
const (
	freeCodes  = 3
	maxGuessed = 10000
)

func (w *wrongCodes) mayTry(user string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.users[user]
	return c.count <= freeCodes || now.Sub(c.last) >= time.Duration(c.count*c.count)*time.Second
}

func (w *wrongCodes) add(user string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.users == nil {
		w.users = make(map[string]wrongCode)
	}
	if _, known := w.users[user]; !known && len(w.users) >= maxGuessed {
		for other := range w.users { // any one: each cost its guesser a right password
			delete(w.users, other)
			break
		}
	}
	w.users[user] = wrongCode{w.users[user].count + 1, now}
}

func (w *wrongCodes) forget(user string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.users, user)
}
