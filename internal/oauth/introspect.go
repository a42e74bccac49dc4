package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// introspect asks the provider about a token (RFC 7662 §2.1).
func (v *Verifier) introspect(ctx context.Context, token string) (claims, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, v.o.Introspection, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("cannot use the address of the introspection endpoint")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if v.o.ClientID != "" {
		r.SetBasicAuth(url.QueryEscape(v.o.ClientID), url.QueryEscape(v.o.ClientSecret)) // RFC 6749 §2.3.1
	}
	b, err := fetch(v.o.Client, r)
	if err != nil {
		return nil, fmt.Errorf("ask the introspection endpoint: %w", err)
	}
	var c claims
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, errors.New("the introspection endpoint answers with something else than JSON")
	}
	var active bool
	if json.Unmarshal(c["active"], &active) != nil {
		return nil, errors.New("the introspection endpoint does not say whether the token is active")
	}
	if !active {
		return nil, ErrInvalid
	}
	return c, nil
}

// fetch reads a JSON answer of bounded size.
func fetch(client *http.Client, r *http.Request) ([]byte, error) {
	r.Header.Set("Accept", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address, which may hold a secret
		}
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", answer.Status)
	}
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return nil, fmt.Errorf("it answers with %q, not JSON", kind)
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("it answers with more than %d octets", maxAnswer)
	}
	return b, err
}
