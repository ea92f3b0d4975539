package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/trigger"
	"github.com/gridlatch/gridlatch/webhook"
)

// mostMemory is what Gridlatch takes at most, whatever strangers send, in MiB.
const mostMemory = 256

func checkMemory(t *testing.T, g *env.Controller) {
	t.Helper()
	peak, err := g.Memory("VmHWM")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("at most %.0f MiB were resident", peak)
	if peak > mostMemory {
		t.Errorf("at most %.0f MiB were resident, want up to %d", peak, mostMemory)
	}
}

// awaitHeldPod creates pods until one is held.
func awaitHeldPod(t *testing.T, c *env.Cluster, ns string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		p := pod(ns, "", tolerant())
		p.GenerateName = "real-"
		if err := c.Client.Create(ctx, p); err != nil {
			return err
		}
		if !hold.HasGate(p.Spec.SchedulingGates) {
			return fmt.Errorf("pod %s is not held: %v", p.Name, p.Annotations)
		}
		return nil
	})
}

// TestAFloodOfHostileReviews has eight strangers call the webhook all the time, with
// what takes gigabytes if it is decoded, while real work comes.
func TestAFloodOfHostileReviews(t *testing.T) {
	dirtyThenClean(t, cluster, 3*time.Minute)
	ns := namespace(t, cluster)
	for _, path := range []string{webhook.Path, ceiling.AdvicePath, trigger.ReviewPath} {
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan int64)
		go func() { answered <- controller.Flood(ctx, path, 8, env.HostileReviews()) }()
		for range 5 {
			awaitHeldPod(t, cluster, ns)
			time.Sleep(time.Second)
		}
		cancel()
		if n := <-answered; n < 8 {
			t.Errorf("%s: %d hostile reviews were answered: there was no flood", path, n)
		}
	}
	checkMemory(t, controller)
}

// dialWebhook connects as a stranger from an address of the loopback interface.
func dialWebhook(t *testing.T, g *env.Controller, from string) net.Conn {
	t.Helper()
	connection, err := tryWebhook(t, g, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func tryWebhook(t *testing.T, g *env.Controller, from string) (net.Conn, error) {
	t.Helper()
	dialer := &tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}},
		Config:    &tls.Config{InsecureSkipVerify: true},
	}
	return dialer.DialContext(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(g.Webhook))
}

// TestSlowBodiesAreClosed begins twenty reviews that do not end.
func TestSlowBodiesAreClosed(t *testing.T) {
	var slow []net.Conn
	for range 20 {
		c := dialWebhook(t, controller, "127.0.0.1")
		head := "POST " + webhook.Path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 6600000\r\n\r\n{"
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	for i, c := range slow {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err := io.Copy(io.Discard, c)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("slow body %d is still open", i)
		}
	}
}

// TestIdleConnectionsKeepNobodyOut has one stranger open more connections than
// there may be.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	dirtyThenClean(t, cluster, 3*time.Minute)
	open := 0
	for range 600 {
		if connection, err := tryWebhook(t, controller, "127.0.0.2"); err == nil { // else it is one too many
			open++
			t.Cleanup(func() { _ = connection.Close() })
		}
	}
	if open < 300 {
		t.Errorf("%d idle connections were opened: nobody could be kept out", open)
	}
	awaitHeldPod(t, cluster, namespace(t, cluster))
	checkMemory(t, controller)
}

// TestTheWebhookAnswersOnlyCallersWithACertificate runs one more replica, that
// wants one.
func TestTheWebhookAnswersOnlyCallersWithACertificate(t *testing.T) {
	dir := t.TempDir()
	if _, err := env.WriteCertificate(dir, "api-server"); err != nil {
		t.Fatal(err)
	}
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	g := cluster.Controller(t, port, "--webhook-client-ca="+filepath.Join(dir, "tls.crt"))
	known, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		certificates []tls.Certificate
		answered     bool
	}{"a stranger": {nil, false}, "who has one": {[]tls.Certificate{known}, true}} {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: tt.certificates},
		}}
		response, err := client.Post("https://127.0.0.1:"+strconv.Itoa(g.Webhook)+webhook.Path, "application/json", strings.NewReader("{}"))
		if err == nil {
			response.Body.Close()
		}
		if (err == nil) != tt.answered {
			t.Errorf("%s: %v", name, err)
		}
	}
}
