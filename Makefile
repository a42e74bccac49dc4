# Peyk: make run | test | interop | bench | crash | soak | lint | install | uninstall | dist

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

GO      ?= go
VERSION := $(shell sed -n 's/^var Version = "\(.*\)"/\1/p' internal/version/version.go)
# Static, and the same bytes wherever it is built, with git or without;
# urfave_cli_no_docs leaves out a manual generator that nothing uses.
BUILD    = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags urfave_cli_no_docs \
           -ldflags '-s -w -X peyk/internal/version.Version=$(VERSION) -X peyk/internal/control.DefaultDir=$(SYSCONFDIR)/peyk/control'

DAEMONS  = smtpd queue-run deliver remote imapd pop3d authd auth-remote
TOOLS    = mailctl sendmail
PROGRAMS = $(DAEMONS) $(TOOLS)
MANLINKS = mailq.1 newaliases.1
PUT      = install -m 644 /dev/stdin

all: build

# The go command knows better than make what is out of date.
build:
	@$(BUILD) -o bin/ $(PROGRAMS:%=./cmd/%)

run: build
	bin/mailctl sandbox -dir sandbox $(RUNFLAGS)

test:
	$(GO) test -count=1 -timeout 10m -cover ./...

race:
	CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...

interop: build
	test/interop/run

bench: build
	test/bench/run

# Faults, kills, power cuts, full disks: hours, some as root; docs/HACKING.md
# names what makes it shorter.
crash:
	PEYK_CRASH=1 $(GO) test -count=1 -timeout 2h -v ./test/crash/...

HOURS = 24
soak:
	PEYK_SOAK=$$(echo "$(HOURS)" | awk '{ printf "%ds", $$1 * 3600 }') PEYK_SOAK_REPORT=$(CURDIR)/soak-report.txt \
	  $(GO) test -count=1 -timeout 0 -v -run Soak ./test/crash/soak

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
	install -m 755 bin/mailctl $(DESTDIR)$(SBINDIR)
	ln -sf $(LIBEXECDIR)/deliver $(DESTDIR)$(SBINDIR)/deliver
	ln -sf $(LIBEXECDIR)/sendmail $(DESTDIR)$(SBINDIR)/sendmail
	ln -sf $(LIBEXECDIR)/sendmail $(DESTDIR)$(BINDIR)/mailq
	ln -sf $(LIBEXECDIR)/sendmail $(DESTDIR)$(BINDIR)/newaliases
	for f in man/*.[1578]; do sed 's,/etc/peyk,$(SYSCONFDIR)/peyk,g' $$f | $(PUT) $(DESTDIR)$(MANDIR)/man$${f##*.}/$${f##*/}; done
	for l in $(MANLINKS); do ln -sf sendmail.1 $(DESTDIR)$(MANDIR)/man1/$$l; done
	for f in systemd/*.service systemd/*.socket systemd/*.target; do \
	  sed 's,/usr/libexec/peyk,$(LIBEXECDIR),g; s,/etc/peyk,$(SYSCONFDIR)/peyk,g' $$f | $(PUT) $(DESTDIR)$(UNITDIR)/$${f##*/}; done
	install -m 644 systemd/sysusers.conf $(DESTDIR)$(SYSUSERSDIR)/peyk.conf
	sed 's,/etc/peyk,$(SYSCONFDIR)/peyk,g' systemd/tmpfiles.conf | $(PUT) $(DESTDIR)$(TMPFILESDIR)/peyk.conf
	install -m 644 README.md CHANGES.md LICENSE docs/*.md docs/rfc.tsv $(DESTDIR)$(DATADIR)/doc/peyk
	cp -R etc/. $(DESTDIR)$(DATADIR)/doc/peyk/examples/
	chmod -R u=rwX,go=rX $(DESTDIR)$(DATADIR)/doc/peyk/examples
	install -d $(DESTDIR)$(DATADIR)/bash-completion/completions $(DESTDIR)$(DATADIR)/zsh/site-functions $(DESTDIR)$(DATADIR)/fish/vendor_completions.d
	bin/mailctl completion bash | $(PUT) $(DESTDIR)$(DATADIR)/bash-completion/completions/mailctl
	bin/mailctl completion zsh | $(PUT) $(DESTDIR)$(DATADIR)/zsh/site-functions/_mailctl
	bin/mailctl completion fish | $(PUT) $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/mailctl.fish

uninstall:
	rm -rf $(DESTDIR)$(DATADIR)/doc/peyk
	rm -f $(addprefix $(DESTDIR)$(LIBEXECDIR)/,$(DAEMONS) sendmail)
	rm -f $(DESTDIR)$(SBINDIR)/mailctl $(DESTDIR)$(SBINDIR)/deliver $(DESTDIR)$(SBINDIR)/sendmail \
	  $(DESTDIR)$(BINDIR)/mailq $(DESTDIR)$(BINDIR)/newaliases \
	  $(DESTDIR)$(SYSUSERSDIR)/peyk.conf $(DESTDIR)$(TMPFILESDIR)/peyk.conf \
	  $(DESTDIR)$(DATADIR)/bash-completion/completions/mailctl \
	  $(DESTDIR)$(DATADIR)/zsh/site-functions/_mailctl \
	  $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/mailctl.fish
	rm -f $(addprefix $(DESTDIR)$(MANDIR)/man1/,$(MANLINKS))
	for f in man/*.[1578]; do rm -f $(DESTDIR)$(MANDIR)/man$${f##*.}/$${f##*/}; done
	for f in systemd/*.service systemd/*.socket systemd/*.target; do rm -f $(DESTDIR)$(UNITDIR)/$${f##*/}; done
	rmdir $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(SYSCONFDIR)/peyk/control $(DESTDIR)$(SYSCONFDIR)/peyk 2>/dev/null || :

# A tarball with everything a build needs: no network, no git.
dist:
	rm -rf dist && mkdir -p dist/peyk-$(VERSION)
	if [ -e .git ]; then git ls-files -z | tar -cf - --null -T -; \
	  else tar -cf - --exclude=./dist --exclude=./bin --exclude=./sandbox .; fi | tar -xf - -C dist/peyk-$(VERSION)
	cd dist/peyk-$(VERSION) && $(GO) mod vendor
	tar --sort=name --mtime=@$${SOURCE_DATE_EPOCH:-0} --owner=0 --group=0 --numeric-owner \
	  -C dist -cf - peyk-$(VERSION) | gzip -n >dist/peyk-$(VERSION).tar.gz

clean:
	rm -rf bin dist

.PHONY: all build run test race interop bench crash soak fuzz lint install uninstall dist clean
