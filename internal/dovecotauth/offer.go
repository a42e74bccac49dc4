package dovecotauth

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Flags of a mechanism, in the words of the protocol.
const (
	FlagPlaintext      = "plaintext"       // the password itself is sent
	FlagMutual         = "mutual-auth"     // the server proves itself too
	FlagChannelBinding = "channel-binding" // needs a binding to the connection
	FlagPrivate        = "private"         // not to be shown by who does not know more of it
)

// offerTime is how long a session waits for the handshake with a server that
// was not connected; without one it offers what it did the last time.
const offerTime = 2 * time.Second

// Offer returns the SASL mechanisms, by name, that a session may show to its
// client: plaintext ones if the connection is secured, those with channel
// binding if there is something to bind to, and EXTERNAL if the client has
// shown a certificate. If the server cannot be asked it is what it offered
// last, and PLAIN before it ever did.
func (a *Auth) Offer(ctx context.Context, info AuthInfo) []string {
	ctx, cancel := context.WithTimeout(ctx, offerTime)
	defer cancel()
	connected := make(chan struct{})
	go func() {
		defer close(connected)
		a.mux.connected(ctx)
	}()
	select {
	case <-connected:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mechanisms == nil && info.Secured {
		return []string{"PLAIN"}
	}
	var names []string
	for _, m := range a.mechanisms {
		if m.suits(info) {
			names = append(names, m.Name)
		}
	}
	return names
}

// suits reports whether a mechanism may be shown to a client.
func (m Mechanism) suits(info AuthInfo) bool {
	has := func(flag string) bool { return slices.Contains(m.Flags, flag) }
	switch {
	case has(FlagPlaintext) && !info.Secured:
		return false
	case has(FlagChannelBinding) || strings.HasSuffix(m.Name, "-PLUS"):
		return len(info.Bindings) > 0
	case has(FlagPrivate):
		return false
	case m.Name == "EXTERNAL":
		return info.Certificate != nil
	}
	return true
}
