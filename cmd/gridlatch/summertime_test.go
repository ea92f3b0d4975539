package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestDeadlinesAcrossTheChangesOfSummerTime runs the program in this process,
// on a real cluster, with its clock set to the evening before a change: what
// the API server then answers shows what a user would get.
func TestDeadlinesAcrossTheChangesOfSummerTime(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	ctrl.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))
	c := env.Start(t, env.Nodes(1))
	clock := clocktesting.NewFakePassiveClock(time.Now())
	runInProcess(t, c, clock)
	tests := []struct{ name, now, deadline, latest string }{ // in order: a forecast never gives way to an older one
		{"a time that comes twice", "2026-10-24T20:00:00Z", "02:30 Europe/Berlin", "2026-10-24T23:27:00Z"},
		{"the night is an hour longer", "2026-10-24T21:00:00Z", "06:00 Europe/Berlin", "2026-10-25T03:57:00Z"},
		{"a day of 24 hours", "2026-11-21T20:00:00Z", "06:00 Europe/Berlin", "2026-11-22T03:57:00Z"},
		{"a time that is skipped", "2027-03-27T20:00:00Z", "02:30 Europe/Berlin", "2027-03-28T00:27:00Z"},
		{"the night is an hour shorter", "2027-03-27T21:00:00Z", "06:00 Europe/Berlin", "2027-03-28T02:57:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now, latest := parse(t, tt.now), parse(t, tt.latest)
			clock.SetTime(now)
			// clean an hour before the last start, and so dirty after it that nothing is spread; cleaner when it is too late
			elements := env.Elements("X", now, latest.Sub(now)-time.Hour, 400)
			elements = append(elements, env.Elements("X", latest.Add(-time.Hour), time.Hour, 200, 4000, 10, 10, 10)...)
			if err := c.Forecast(t.Context(), elements...); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{v1alpha1.LatestStartAnnotation: tt.latest, v1alpha1.PlannedStartAnnotation: latest.Add(-time.Hour).Format(time.RFC3339)}
			// until the forecast is read, and the leader is known to be there at that time, too
			env.Eventually(t, 45*time.Second, func(ctx context.Context) error {
				return wantNotes(ctx, c, tt.deadline, want)
			})
		})
	}
}

// runInProcess runs the program with a clock, for as long as the test.
func runInProcess(t *testing.T, c *env.Cluster, clock policy.Clock) {
	t.Helper()
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Install(t.Context(), port); err != nil {
		t.Fatal(err)
	}
	if _, err := c.KubectlInput(t.Context(), // the API server's clock stamps the forecast
		`{"apiVersion": "gridlatch.dev/v1alpha1", "kind": "CarbonPolicy", "metadata": {"name": "default"}, "spec": {"forecast": {"maxAge": "8784h"}}}`,
		"apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	c.Certs(t)
	config, err := c.ServiceAccountConfig(t.Context(), env.Namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	o := &options{}
	if err := o.parse([]string{"--webhook-bind-address=127.0.0.1", "--webhook-port=" + strconv.Itoa(port), "--webhook-host=localhost",
		"--metrics-bind-address=0", "--health-probe-bind-address=0"}, t.Output()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, o, config, clock) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	wait, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.AwaitWebhook(wait); err != nil {
		t.Fatal(err)
	}
}

func wantNotes(ctx context.Context, c *env.Cluster, deadline string, want map[string]string) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "probe", Annotations: map[string]string{
			v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: deadline, v1alpha1.DurationAnnotation: "1h",
		}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "work", Image: "work"}}},
	}
	if err := c.Client.Create(ctx, pod, client.DryRunAll); err != nil {
		return err
	}
	got := map[string]string{}
	for key := range want {
		got[key] = pod.Annotations[key]
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("got %v, want %v: %s", got, want, pod.Annotations[v1alpha1.ReasonAnnotation])
	}
	return nil
}

func parse(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
