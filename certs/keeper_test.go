package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func certificate(t *testing.T, serial int64, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: t0.Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestBundle(t *testing.T) {
	current := certificate(t, 1, t0.Add(time.Hour))
	previous := certificate(t, 2, t0.Add(time.Hour))
	expired := certificate(t, 3, t0.Add(-time.Minute))
	join := func(all ...[]byte) []byte { return bytes.Join(all, nil) }
	for name, tt := range map[string]struct{ old, want []byte }{
		"nothing before":                  {nil, current},
		"the same before":                 {current, current},
		"a replaced one that still holds": {previous, join(current, previous)},
		"a replaced one that has expired": {expired, current},
		"all of them, in any order":       {join(previous, expired, current), join(current, previous)},
		"its own result":                  {join(current, previous), join(current, previous)},
		"what is no certificate":          {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\ngarbage"), current},
	} {
		t.Run(name, func(t *testing.T) {
			if got := MergeBundles(tt.old, current, t0); !bytes.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
