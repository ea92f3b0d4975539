package keep

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestADamagedPodBesideThePageIsAnErrorAndTooManyAreLeftOut(t *testing.T) {
	compressed := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if o, err := decodeOpen(compressed(`{} {"uid":"a"} {"uid"`)); err == nil {
		t.Errorf("got %+v, want an error", o)
	}
	o, err := decodeOpen(compressed(strings.Repeat("{}", maxOpenPods+2)))
	if err != nil || len(o.Pods) != maxOpenPods {
		t.Errorf("got %d pods and %v, want %d", len(o.Pods), err, maxOpenPods)
	}
}

func TestEachPassIsTimedAlsoIfItFails(t *testing.T) {
	r := newRig(t)
	k, registry := r.keeper(t), prometheus.NewRegistry()
	k.Metrics = NewMetrics(registry)
	k.try(t.Context())
	k.shelf.isLoaded = false
	k.shelf.store.Reader = failingReader{k.shelf.store.Reader}
	k.try(t.Context())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += float64(m.GetHistogram().GetSampleCount()) + m.GetCounter().GetValue()
		}
	}
	if got["gridlatch_ledger_pass_seconds"] != 2 || got["gridlatch_ledger_failures_total"] != 1 {
		t.Errorf("%v passes were timed, and %v failed; want 2 and 1", got["gridlatch_ledger_pass_seconds"], got["gridlatch_ledger_failures_total"])
	}
}

// failingReader lists nothing.
type failingReader struct{ client.Reader }

func (failingReader) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("the API server is away")
}
