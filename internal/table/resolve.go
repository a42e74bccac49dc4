package table

import (
	"fmt"

	"peyk/internal/address"
	"peyk/internal/status"
)

// Limits of one expansion.
const (
	maxDepth   = 50   // aliases behind aliases
	maxResults = 1000 // addresses in the end
	maxSteps   = 20 * maxResults
)

// Resolve returns the mailboxes and foreign addresses that stand behind an
// address of a local domain; none means that there is no such user.
//
// An address is looked up as an alias with its detail, as an alias without, as
// an account without, and last through the catch-all; sep separates user and
// detail, "" means that nobody has one. An account keeps the detail.
// userExists asks who has an account; nil looks into the users files.
//
// A loop of aliases is cut where it closes: an alias that names itself means
// the account of that name, if there is one. A target in a local domain that
// does not exist is dropped if it is alone, so that the sender is told at
// once, and kept beside others, so that somebody is told at all.
func (d *Domains) Resolve(addr address.Address, sep string, userExists func(address.Address) (bool, error)) ([]address.Address, error) {
	if userExists == nil {
		userExists = d.hasUser
	}
	x := &expansion{tables: d, sep: sep, exists: userExists,
		state: make(map[string]progress), seen: make(map[string]bool)}
	if err := x.add(target{addr: addr}, 0); err != nil {
		return nil, err
	}
	if len(x.results) == 0 {
		return nil, nil
	}
	return append(x.results, x.dead...), nil
}

func (d *Domains) hasUser(addr address.Address) (bool, error) {
	_, ok, err := d.User(addr)
	return ok, err
}

// expansion is one Resolve under way.
type expansion struct {
	tables  *Domains
	sep     string
	exists  func(address.Address) (bool, error)
	state   map[string]progress // aliases met, by key
	seen    map[string]bool     // results and dead ends, by key
	results []address.Address
	dead    []address.Address
	steps   int
}

type progress int

const (
	expanding progress = iota + 1 // further up in this very chain
	expanded
)

// add expands one target.
func (x *expansion) add(t target, depth int) error {
	x.steps++
	if depth > maxDepth || x.steps > maxSteps {
		return tooMuch(t.addr, fmt.Errorf("aliases nested deeper than %d, or more than %d of them", maxDepth, maxSteps))
	}
	local, err := x.tables.Has(t.addr.Domain)
	if err != nil {
		return err
	}
	if !local {
		return x.result(t.addr)
	}
	done, err := x.addLocal(t, depth)
	if err != nil || done {
		return err
	}
	return x.deadEnd(t.addr)
}

// addLocal expands an address of a local domain; done is false when nobody
// answers to it.
func (x *expansion) addLocal(t target, depth int) (done bool, err error) {
	user, _ := t.addr.Detail(x.sep)
	name := t.addr.WithLocal(user)
	if !t.exact {
		done, err = x.addAliases(t.addr, name, depth)
	}
	if err == nil && !done {
		done, err = x.addUser(name, t.addr)
	}
	if err != nil || done || t.exact {
		return done, err
	}
	if err := x.tables.aliasDoubt(t.addr.Domain); err != nil {
		return false, err
	}
	return x.addAlias(t.addr.WithLocal(CatchAll), depth)
}

// addAliases expands the alias of the whole local part or else that of the
// user.
func (x *expansion) addAliases(whole, user address.Address, depth int) (done bool, err error) {
	done, err = x.addAlias(whole, depth)
	if err != nil || done || whole == user {
		return done, err
	}
	return x.addAlias(user, depth)
}

// addAlias expands an alias. One that is being expanded already is no alias
// to its own targets.
func (x *expansion) addAlias(name address.Address, depth int) (done bool, err error) {
	targets, found, err := x.tables.alias(name)
	if err != nil || !found {
		return false, err
	}
	key := name.Key()
	switch x.state[key] {
	case expanding:
		return false, nil
	case expanded:
		return true, nil
	}
	x.state[key] = expanding
	for _, t := range targets {
		if err := x.add(t, depth+1); err != nil {
			return false, err
		}
	}
	x.state[key] = expanded
	return true, nil
}

// addUser adds the account name, under the address with its detail.
func (x *expansion) addUser(name, addr address.Address) (done bool, err error) {
	if name.Local == CatchAll {
		return false, nil
	}
	ok, err := x.exists(name)
	if err != nil || !ok {
		return false, err
	}
	return true, x.result(addr)
}

func (x *expansion) result(addr address.Address) error {
	if x.seen[addr.Key()] {
		return nil
	}
	if len(x.results) == maxResults {
		return tooMuch(addr, fmt.Errorf("more than %d addresses", maxResults))
	}
	x.seen[addr.Key()] = true
	x.results = append(x.results, addr)
	return nil
}

// deadEnd notes a local address that nobody answers to.
func (x *expansion) deadEnd(addr address.Address) error {
	if x.seen[addr.Key()] {
		return nil
	}
	if len(x.dead) == maxResults {
		return tooMuch(addr, fmt.Errorf("more than %d addresses that do not exist", maxResults))
	}
	x.seen[addr.Key()] = true
	x.dead = append(x.dead, addr)
	return nil
}

// tooMuch is the status of an alias that means more than any alias should.
func tooMuch(addr address.Address, err error) *status.Error {
	return status.New(451, "4.3.5", "cannot expand the alias, try again later").Because("expand alias at "+addr.String(), err)
}
