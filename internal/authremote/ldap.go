package authremote

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"peyk/internal/address"
)

// ldapAttributes are the lines that name an attribute, and the word of a userdb
// that it fills.
var ldapAttributes = map[string]string{"home-attribute": "home", "mail-attribute": "mail", "quota-attribute": "quota_rule", "uid-attribute": "uid", "gid-attribute": "gid"}

// directory is an LDAP server: the account is searched for, and whoever can
// bind as what was found has the right password (RFC 4513 §5.1.3).
type directory struct {
	url      string
	startTLS bool
	tls      *tls.Config
	bindDN   string
	password string
	base     string
	filter   string            // with %u, %n and %d
	fields   map[string]string // attribute to word of a userdb
	address  string            // attribute that holds addresses, for lists
}

func openLDAP(o options) (source, error) {
	err := o.take(3, "url", "base", "filter", "start-tls", "ca", "bind-dn", "bind-password", "list-attribute",
		"home-attribute", "mail-attribute", "quota-attribute", "uid-attribute", "gid-attribute")
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(o["url"])
	if err != nil || !slices.Contains([]string{"ldap", "ldaps", "ldapi"}, u.Scheme) {
		return nil, errors.New("the url is none of an LDAP server: expected one such as ldaps://ldap.example.org")
	}
	d := &directory{url: o["url"], base: o["base"], filter: o["filter"], bindDN: o["bind-dn"], password: o["bind-password"],
		address: o["list-attribute"], fields: make(map[string]string), tls: &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}}
	if d.startTLS = o["start-tls"] == "yes"; !d.startTLS && o["start-tls"] != "" && o["start-tls"] != "no" {
		return nil, errors.New("start-tls is yes or no")
	}
	for line, word := range ldapAttributes {
		if attribute := o[line]; attribute != "" {
			d.fields[attribute] = word
		}
	}
	if _, err := ldap.CompileFilter(d.fill(address.Address{Local: "x", Domain: "x"})); err != nil {
		return nil, errors.New("cannot read the filter")
	}
	return d, d.trust(o["ca"])
}

func (d *directory) trust(file string) error {
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d.tls.RootCAs = x509.NewCertPool()
	if !d.tls.RootCAs.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s: no certificate of an authority in it, in PEM", file)
	}
	return nil
}

// fill puts an address into the filter, escaped (RFC 4515 §3).
func (d *directory) fill(user address.Address) string {
	return strings.NewReplacer("%u", ldap.EscapeFilter(user.Local+"@"+user.Domain), "%n", ldap.EscapeFilter(user.Local), "%d", ldap.EscapeFilter(user.Domain)).Replace(d.filter)
}

// dial connects; the connection ends with the context.
func (d *directory) dial(ctx context.Context) (*ldap.Conn, func(), error) {
	dialer := &net.Dialer{}
	if end, ok := ctx.Deadline(); ok {
		dialer.Deadline = end
	}
	conn, err := ldap.DialURL(d.url, ldap.DialWithDialer(dialer), ldap.DialWithTLSConfig(d.tls))
	if err != nil {
		return nil, nil, err
	}
	conn.SetTimeout(askTime)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if d.startTLS {
		if err := conn.StartTLS(d.tls); err != nil {
			stop()
			conn.Close()
			return nil, nil, err
		}
	}
	return conn, func() { stop(); conn.Close() }, nil
}

// search finds the one entry of an account; nil when there is none.
func (d *directory) search(ctx context.Context, conn *ldap.Conn, user address.Address) (*ldap.Entry, error) {
	if d.bindDN != "" {
		if err := conn.Bind(d.bindDN, d.password); err != nil {
			return nil, fmt.Errorf("bind as ourselves: %w", err)
		}
	}
	attributes := []string{"1.1"} // RFC 4511 §4.5.1.8: none
	for attribute := range d.fields {
		attributes = append(attributes, attribute)
	}
	if len(attributes) > 1 {
		attributes = attributes[1:]
	}
	r := ldap.NewSearchRequest(d.base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 2, int(askTime.Seconds()), false, d.fill(user), attributes, nil)
	result, err := conn.Search(r)
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) || err == nil && len(result.Entries) > 1 {
		return nil, errors.New("the filter finds more than one entry")
	}
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		return nil, errors.New("there is no such base")
	}
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	if len(result.Entries) == 0 {
		return nil, nil
	}
	return result.Entries[0], nil
}

// check binds as the entry, or as one that cannot exist, which takes as long.
func (d *directory) check(ctx context.Context, user address.Address, password string) (bool, error) {
	if password == "" { // RFC 4513 §5.1.2: that would be an anonymous bind, which succeeds
		return false, nil
	}
	conn, done, err := d.dial(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	entry, err := d.search(ctx, conn, user)
	if err != nil {
		return false, err
	}
	dn := "cn=" + nonsense() + "," + d.base
	if entry != nil {
		dn = entry.DN
	}
	err = conn.Bind(dn, password)
	if ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInappropriateAuthentication) {
		return false, nil
	}
	return err == nil && entry != nil, err
}

func nonsense() string {
	var b [16]byte
	rand.Read(b[:]) // does not fail: crypto/rand crashes the process instead
	return hex.EncodeToString(b[:])
}

func (d *directory) find(ctx context.Context, user address.Address) (account, bool, error) {
	conn, done, err := d.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	defer done()
	entry, err := d.search(ctx, conn, user)
	if err != nil || entry == nil {
		return nil, false, err
	}
	a := make(account)
	for attribute, word := range d.fields {
		if v := entry.GetEqualFoldAttributeValue(attribute); v != "" {
			a[word] = v
		}
	}
	return a, true, nil
}

// list returns the addresses of all entries that the filter finds with * for
// the address.
func (d *directory) list(ctx context.Context) ([]string, error) {
	if d.address == "" {
		return nil, nil
	}
	conn, done, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if d.bindDN != "" {
		if err := conn.Bind(d.bindDN, d.password); err != nil {
			return nil, err
		}
	}
	filter := strings.NewReplacer("%u", "*", "%n", "*", "%d", "*").Replace(d.filter)
	r := ldap.NewSearchRequest(d.base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, maxNames, int(askTime.Seconds()), false, filter, []string{d.address}, nil)
	result, err := conn.SearchWithPaging(r, 500)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range result.Entries {
		names = append(names, entry.GetEqualFoldAttributeValue(d.address))
	}
	return names, nil
}

func (*directory) close() {}
