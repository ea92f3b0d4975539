package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFlagsOfTheScaler(t *testing.T) {
	for name, tt := range map[string]struct {
		args    string
		address string // empty if the scaler is not served
		want    string
	}{
		"none by default":         {"", "", ""},
		"none by name":            {"--scaler-bind-address=0", "", ""},
		"the Service":             {"--scaler-bind-address=:9446 --namespace=green", "gridlatch-scaler.green.svc:9446", ""},
		"another address":         {"--scaler-bind-address=:9446 --scaler-address=scaler.example.com:443", "scaler.example.com:443", ""},
		"no port":                 {"--scaler-bind-address=9446", "", `--scaler-bind-address "9446": want an address such as :9446`},
		"an address without port": {"--scaler-bind-address=:9446 --scaler-address=scaler", "", `--scaler-address "scaler": want an address such as gridlatch-scaler.`},
		"a CA without address":    {"--scaler-client-ca=x", "", "want --scaler-bind-address as well"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &options{}
			err := o.parse(strings.Fields(tt.args), io.Discard)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil || o.scaler.isServed() != (tt.address != "") || o.scaler.address != tt.address {
				t.Errorf("got %q, want %q: %v", o.scaler.address, tt.address, err)
			}
			host, _, _ := strings.Cut(tt.address, ":")
			if got := strings.Join(o.scaler.hosts(), " "); got != host {
				t.Errorf("the certificate is for %q, want %q", got, host)
			}
		})
	}
}

func TestADirectoryWithoutCAMeansAPublicOne(t *testing.T) {
	dir := t.TempDir()
	if ca, err := readAuthority(dir); err != nil || len(ca) > 0 {
		t.Error(ca, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("the CA"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ca, err := readAuthority(dir); err != nil || string(ca) != "the CA" {
		t.Error(string(ca), err)
	}
}

// With html/template, the linker keeps every exported method of the program.
func TestTheProgramDoesNotLinkPagesOfGRPC(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-tags", "grpcnotrace", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, "google.golang.org/grpc") {
		t.Fatalf("go list does not say what is linked, but: %.200s", out)
	}
	for _, forbidden := range []string{"golang.org/x/net/trace", "html/template", "google.golang.org/grpc/reflection", "github.com/kedacore/keda/v2"} {
		if slices.Contains(linked, forbidden) {
			t.Errorf("the program links %s", forbidden)
		}
	}
}
