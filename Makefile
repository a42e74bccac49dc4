# Peyk: make run | test | interop | bench | lint | install | uninstall | dist

PREFIX     = /usr/local
SYSCONFDIR = /etc
SBINDIR    = $(PREFIX)/sbin
BINDIR     = $(PREFIX)/bin
LIBEXECDIR = $(PREFIX)/libexec/peyk
MANDIR     = $(PREFIX)/share/man
DATADIR    = $(PREFIX)/share
UNITDIR    = $(PREFIX)/lib/systemd/system
SYSUSERSDIR = $(PREFIX)/lib/sysusers.d
TMPFILESDIR = $(PREFIX)/lib/tmpfiles.d
DESTDIR    =

GO       = go
VERSION  = $(shell sed -n 's/^var Version = "\(.*\)"/\1/p' internal/version/version.go)
GOFLAGS  =
# Static, and the same bytes wherever it is built; urfave_cli_no_docs leaves
# out a manual generator that nothing uses.
BUILD    = CGO_ENABLED=0 $(GO) build $(GOFLAGS) -trimpath -tags urfave_cli_no_docs \
           -ldflags '-s -w -X peyk/internal/version.Version=$(VERSION)'

DAEMONS  = smtpd queue-run deliver remote imapd pop3d authd
TOOLS    = mailctl sendmail
PROGRAMS = $(DAEMONS) $(TOOLS)

all: build

build: $(PROGRAMS:%=bin/%)

# The go command knows better than make what is out of date.
bin/%: FORCE
	@$(BUILD) -o $@ ./cmd/$*

FORCE:

run: build
	bin/mailctl sandbox -dir sandbox $(RUNFLAGS)

test:
	$(GO) test $(GOFLAGS) -count=1 -timeout 10m -cover ./...

race:
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...

interop: build
	test/interop/run

bench: build
	test/bench/run

fuzz:
	test/fuzz $(FUZZTIME)

lint:
	@out=$$(gofmt -l cmd internal test); [ -z "$$out" ] || { echo "gofmt wants to change:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

install: build
	install -d $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(SBINDIR) $(DESTDIR)$(BINDIR) $(DESTDIR)$(UNITDIR) \
	  $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(TMPFILESDIR) $(DESTDIR)$(DATADIR)/doc/peyk/examples \
	  $(DESTDIR)$(SYSCONFDIR)/peyk/control $(addprefix $(DESTDIR)$(MANDIR)/man,1 5 7 8)
	install -m 755 $(DAEMONS:%=bin/%) bin/sendmail $(DESTDIR)$(LIBEXECDIR)
	install -m 755 bin/mailctl bin/deliver $(DESTDIR)$(SBINDIR)
	ln -sf $(LIBEXECDIR)/sendmail $(DESTDIR)$(SBINDIR)/sendmail
	ln -sf $(LIBEXECDIR)/sendmail $(DESTDIR)$(BINDIR)/mailq
	ln -sf $(LIBEXECDIR)/sendmail $(DESTDIR)$(BINDIR)/newaliases
	for f in man/*.[1578]; do install -m 644 $$f $(DESTDIR)$(MANDIR)/man$${f##*.}/; done
	for f in systemd/*.service systemd/*.socket systemd/*.target; do \
	  sed 's,/usr/libexec/peyk,$(LIBEXECDIR),g; s,/etc/peyk,$(SYSCONFDIR)/peyk,g' $$f >$(DESTDIR)$(UNITDIR)/$${f##*/}; done
	install -m 644 systemd/sysusers.conf $(DESTDIR)$(SYSUSERSDIR)/peyk.conf
	install -m 644 systemd/tmpfiles.conf $(DESTDIR)$(TMPFILESDIR)/peyk.conf
	cp -R etc/. $(DESTDIR)$(DATADIR)/doc/peyk/examples/
	install -d $(DESTDIR)$(DATADIR)/bash-completion/completions $(DESTDIR)$(DATADIR)/zsh/site-functions $(DESTDIR)$(DATADIR)/fish/vendor_completions.d
	bin/mailctl completion bash >$(DESTDIR)$(DATADIR)/bash-completion/completions/mailctl
	bin/mailctl completion zsh >$(DESTDIR)$(DATADIR)/zsh/site-functions/_mailctl
	bin/mailctl completion fish >$(DESTDIR)$(DATADIR)/fish/vendor_completions.d/mailctl.fish

uninstall:
	rm -rf $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(DATADIR)/doc/peyk
	rm -f $(DESTDIR)$(SBINDIR)/mailctl $(DESTDIR)$(SBINDIR)/deliver $(DESTDIR)$(SBINDIR)/sendmail \
	  $(DESTDIR)$(BINDIR)/mailq $(DESTDIR)$(BINDIR)/newaliases \
	  $(DESTDIR)$(SYSUSERSDIR)/peyk.conf $(DESTDIR)$(TMPFILESDIR)/peyk.conf \
	  $(DESTDIR)$(DATADIR)/bash-completion/completions/mailctl \
	  $(DESTDIR)$(DATADIR)/zsh/site-functions/_mailctl \
	  $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/mailctl.fish
	for f in man/*.[1578]; do rm -f $(DESTDIR)$(MANDIR)/man$${f##*.}/$${f##*/}; done
	for f in systemd/*.service systemd/*.socket systemd/*.target; do rm -f $(DESTDIR)$(UNITDIR)/$${f##*/}; done

# A tarball with everything a build needs: no network, no git.
dist:
	rm -rf dist && mkdir -p dist/peyk-$(VERSION)
	tar -cf - --exclude=./dist --exclude=./bin --exclude=./sandbox --exclude=./.git . | tar -xf - -C dist/peyk-$(VERSION)
	cd dist/peyk-$(VERSION) && $(GO) mod vendor
	tar --sort=name --mtime=@$${SOURCE_DATE_EPOCH:-0} --owner=0 --group=0 --numeric-owner \
	  -C dist -cf - peyk-$(VERSION) | gzip -n >dist/peyk-$(VERSION).tar.gz

clean:
	rm -rf bin dist

.PHONY: all build run test race interop bench fuzz lint install uninstall dist clean FORCE
