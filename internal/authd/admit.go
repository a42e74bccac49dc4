package authd

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"peyk/internal/dovecotauth"
	"peyk/internal/table"
)

// The reasons for which somebody who has proved who it is may not come in.
const (
	suspended      refusal = "suspended"
	expired        refusal = "expired"
	loginOff       refusal = "login-off"
	receiveOnly    refusal = "receive-only"
	otherProtocol  refusal = "protocol"
	otherHour      refusal = "hours"
	otherCountry   refusal = "country"
	appExpired     refusal = "app-password-expired"
	appProtocol    refusal = "app-password-protocol"
	appNetwork     refusal = "app-password-network"
	appRights      refusal = "app-password-rights"
	needFactor     refusal = "second-factor"
	needCode       refusal = "second-factor-missing"
	badCode        refusal = "second-factor-code"
	usedCode       refusal = "second-factor-used"
	tooManyCodes   refusal = "second-factor-wait"
	passwordsFixed refusal = "password-change"
)

// admit decides whether somebody who has proved who it is may come in now:
// the limits of the app password, the access tables, the second factor. A
// mechanism may ask earlier than run does; who was admitted stays so.
func (a *attempt) admit(ctx context.Context) error {
	if a.admitted {
		return nil
	}
	if a.app != nil {
		if err := a.allowedByApp(*a.app); err != nil {
			return err
		}
	}
	access, err := a.server.tables.Access(a.user)
	if err != nil {
		return err
	}
	if err := a.allowedByAccess(ctx, access); err != nil {
		return err
	}
	err = a.secondFactor()
	a.admitted = err == nil
	return err
}

// protocolOf returns the protocol of a service, as the tables name it. What is
// none of theirs stands for itself.
func protocolOf(service string) string {
	switch service {
	case "submission":
		return "smtp"
	case "managesieve":
		return "sieve"
	}
	return service
}

// allowedByApp applies the limits of an app password.
func (a *attempt) allowedByApp(p table.AppPassword) error {
	protocol := protocolOf(a.service)
	switch {
	case !p.Expires.IsZero() && !a.server.options.Now().Before(p.Expires):
		return appExpired
	case len(p.Protocols) > 0 && !slices.Contains(p.Protocols, protocol):
		return appProtocol
	case len(p.Networks) > 0 && !within(p.Networks, a.ip):
		return appNetwork
	case !a.mayHold(p.Rights, protocol):
		return appRights
	}
	return nil
}

// mayHold reports whether a protocol has a use for rights, and whoever asks
// will obey them: a server that does not know of them would give everything.
func (a *attempt) mayHold(rights table.Rights, protocol string) bool {
	switch rights {
	case table.Full:
		return true
	case table.ReadOnly:
		return a.obeys && (protocol == "imap" || protocol == "pop3")
	case table.AppendOnly:
		return a.obeys && protocol == "imap"
	case table.SendOnly:
		return protocol == "smtp"
	}
	return false
}

// allowedByAccess applies the access tables, in the order of peyk-access(5).
func (a *attempt) allowedByAccess(ctx context.Context, access table.Access) error {
	now := a.server.options.Now()
	protocol := protocolOf(a.service)
	for _, rule := range []struct {
		word    string
		reason  refusal
		refuses func(c table.Clause) (bool, error)
	}{
		{"suspended", suspended, always},
		{"expires", expired, func(c table.Clause) (bool, error) { return !now.Before(c.Date), nil }},
		{"login", loginOff, always},
		{"protocols", otherProtocol, func(c table.Clause) (bool, error) {
			return protocol != passwdService && !slices.Contains(c.List, protocol), nil
		}},
		{"send", receiveOnly, func(table.Clause) (bool, error) { return protocol == "smtp", nil }},
		{"networks", otherNetwork, func(c table.Clause) (bool, error) { return !within(c.Networks, a.ip), nil }},
		{"hours", otherHour, func(c table.Clause) (bool, error) { return !c.Hours.Include(now), nil }},
		{"countries", otherCountry, func(c table.Clause) (bool, error) { return a.outside(ctx, c.List) }},
	} {
		c, found := access[rule.word]
		if !found || c.Unlimited {
			continue
		}
		refused, err := rule.refuses(c)
		if err != nil {
			return err
		}
		if refused {
			a.rule, a.text = c.Where, c.Reason
			return rule.reason
		}
	}
	return nil
}

func always(table.Clause) (bool, error) { return true, nil }

// outside reports whether the client is in none of the countries. One without
// an address is in none.
func (a *attempt) outside(ctx context.Context, countries []string) (bool, error) {
	if !a.ip.IsValid() {
		return true, nil
	}
	country, err := a.server.countries.of(ctx, a.set.countryCommand, a.ip)
	return !slices.Contains(countries, country), err
}

func within(networks []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return ip.IsValid() && p.Contains(ip) })
}

// fields are what the answer to a good login carries besides the user.
func (a *attempt) fields() map[string]string {
	f := make(map[string]string)
	if a.app != nil {
		f[dovecotauth.FieldApp] = a.app.ID
		if a.app.Rights != table.Full {
			f[dovecotauth.FieldRights] = string(a.app.Rights)
		}
	}
	if a.obeys {
		f[dovecotauth.FieldTicket] = a.ticket()
	}
	return f
}

// mailRefusal returns the reply to mail for an account that takes none, ""
// for all others.
func (s *Server) mailRefusal(set *settings, access table.Access) string {
	if c, ok := access["suspended"]; ok && !c.Unlimited {
		if c.Text == "refuse" {
			return "550 5.2.1 this account is suspended"
		}
		return "450 4.2.1 this account is suspended"
	}
	if c, ok := access["receive"]; ok && !c.Unlimited {
		return "550 5.2.1 " + strings.TrimSpace(set.sendOnlyText)
	}
	return ""
}
