package pop3d

import (
	"context"
	"strings"

	"peyk/internal/eventlog"
)

func fold(s string) string { return strings.ToLower(s) }

func (s *session) mayStartTLS() bool {
	return s.o.TLS != nil && s.conn.TLSState() == nil && s.drop == nil
}

// stls starts TLS (RFC 2595 §4). Whatever the client sent before the handshake
// is thrown away, because a stranger may have put it there.
func (s *session) stls(ctx context.Context, _ string) {
	if !s.mayStartTLS() {
		s.fail("TLS cannot be started here")
		return
	}
	s.ok("begin TLS now")
	s.in.Reset(s.conn)
	s.user, s.utf8, s.fails = "", false, 0
	ctx, cancel := context.WithTimeout(ctx, s.o.HandshakeTimeout)
	defer cancel()
	if err := s.conn.UpgradeTLS(ctx, s.o.TLS); err != nil {
		s.log.Event(eventlog.TLSFailed, "client", s.client, "error", err)
		s.reason, s.over = "tls-failed", true
	}
}
