package main

import (
	"crypto/tls"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFlagsOfTheExtender(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(broken, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args    string
		extends bool
		want    string
	}{
		"none by default":       {"", false, ""},
		"none by name":          {"--extender-bind-address=0", false, ""},
		"empty is none":         {"--extender-bind-address=", false, ""},
		"an address":            {"--extender-bind-address=:9444", true, ""},
		"a CA without address":  {"--extender-client-ca=x", false, "--extender-client-ca: want --extender-bind-address as well"},
		"a CA that is no CA":    {"--extender-bind-address=:0 --extender-client-ca=" + broken, true, "--extender-client-ca: CA of clients: " + broken + ": want certificates in PEM"},
		"a CA that is not here": {"--extender-bind-address=:0 --extender-client-ca=" + broken + "x", true, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &options{}
			err := o.parse(strings.Fields(tt.args), io.Discard)
			if err == nil && o.extenderCA != "" {
				_, err = requireClientCertificates(&tls.Config{MinVersion: tls.VersionTLS13}, "--extender-client-ca", o.extenderCA)
			}
			if o.servesExtender() != tt.extends || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("extends: %t, %v; want %t, %q", o.servesExtender(), err, tt.extends, tt.want)
			}
		})
	}
}
