# make run    what the box does, on this machine     make test   every test, with the peers it needs
# make bench  the figures (ONLY=name for one)        make lint   format, lints, licences
# make test-dahdi  the T1/E1 driver against the kernel's own and the daemon on it, in a virtual machine
# make install, make deb                             the daemon as a service

CARGO ?= cargo
DEMO ?=
ONLY ?= *
DESTDIR ?=
VERSION = $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

.PHONY: run test test-dahdi lint bench build install deb

run: build
	target/release/demarc demo $(DEMO)

build:
	@.ci/packages gcc cmake pkg-config libssl-dev
	$(CARGO) build --release --locked

test:
	@.ci/packages gcc cmake pkg-config libssl-dev
	@.ci/test

test-dahdi:
	@.ci/dahdi

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all --all-targets --locked -- -D warnings
	@if ! command -v cargo-deny >/dev/null; then \
	   echo "skipped: cargo-deny is not installed (cargo install cargo-deny --locked)"; \
	 else \
	   $(CARGO) deny --all-features check bans licenses sources || exit 1; \
	   if $(CARGO) deny fetch db >/dev/null 2>&1; then $(CARGO) deny --all-features check advisories; \
	   else echo "skipped: the advisory database cannot be fetched (network)"; fi; \
	 fi

bench: build
	@.ci/bench '$(ONLY)'

install: build
	install -D -m 755 target/release/demarc $(DESTDIR)/usr/bin/demarc
	install -D -m 644 systemd/demarc.service $(DESTDIR)/usr/lib/systemd/system/demarc.service
	install -D -m 644 systemd/demarc.sysusers $(DESTDIR)/usr/lib/sysusers.d/demarc.conf
	install -D -m 644 systemd/demarc.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/demarc.conf
	install -D -m 644 config/demarc.ini $(DESTDIR)/usr/share/demarc/demarc.ini
	install -D -m 644 systemd/discipline.conf $(DESTDIR)/usr/share/demarc/discipline.conf
	install -D -m 644 systemd/console.conf $(DESTDIR)/usr/share/demarc/console.conf
	install -D -m 644 systemd/lines.conf $(DESTDIR)/usr/share/demarc/lines.conf
	test -e $(DESTDIR)/etc/demarc/demarc.ini || install -D -m 644 config/demarc.ini $(DESTDIR)/etc/demarc/demarc.ini

deb:
	rm -rf target/deb
	$(MAKE) install DESTDIR=target/deb
	mkdir -p target/deb/DEBIAN
	echo /etc/demarc/demarc.ini > target/deb/DEBIAN/conffiles
	printf '%s\n' 'Package: demarc' 'Version: $(VERSION)' "Architecture: $$(dpkg --print-architecture)" \
	 'Maintainer: demarc <demarc@localhost>' 'Depends: libc6 (>= 2.36), libssl3' 'Section: comm' 'Priority: optional' \
	 'Description: open mediation server' \
	 ' Joins Lync, Skype for Business and Teams Direct Routing to the telephone network.' > target/deb/DEBIAN/control
	printf '%s\n' '#!/bin/sh' 'set -e' 'systemd-sysusers demarc.conf' 'systemd-tmpfiles --create demarc.conf' \
	 'if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi' > target/deb/DEBIAN/postinst
	chmod 755 target/deb/DEBIAN/postinst
	dpkg-deb --root-owner-group --build target/deb target/demarc_$(VERSION)_$$(dpkg --print-architecture).deb
