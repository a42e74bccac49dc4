package authd

import (
	"net/netip"
	"strings"

	"peyk/internal/control"
	"peyk/internal/table"
)

// judge decides from all that is known, after the work was done.
func (a *attempt) judge(account table.User, found, ok bool) error {
	a.stored = account.Password
	switch {
	case !found:
		return unknownUser
	case !ok:
		return badPassword
	}
	return restrictions(account.Fields, a.ip)
}

// restrictions applies the fields that limit a login. One that limits in a way
// that we do not know refuses it: nobody may get in by our ignorance.
func restrictions(fields map[string]string, ip netip.Addr) error {
	for name, value := range fields {
		switch name {
		case "nologin":
			return disabled
		case "allow_nets":
			if !allowed(value, ip) {
				return otherNetwork
			}
		case "allow_real_nets", "proxy", "proxy_maybe", "nopassword", "delay_until", "user", "login_user":
			return oddField
		}
	}
	return nil
}

// allowed reports whether an address is in a list of networks.
func allowed(list string, ip netip.Addr) bool {
	for item := range strings.SplitSeq(list, ",") {
		p, err := control.ParseNetwork(strings.TrimSpace(item))
		if err == nil && ip.IsValid() && p.Contains(ip) {
			return true
		}
	}
	return false
}
