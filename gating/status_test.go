package gating

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestAStatusIsWrittenWithItsZeros(t *testing.T) {
	data, err := replaceStatus(v1alpha1.CarbonPolicyStatus{Held: v1alpha1.HeldStatus{Groups: 1}}).Data(client.Object(nil))
	if err != nil {
		t.Fatal(err)
	}
	// a Job without pods yet; the schema requires both
	if want := `[{"op":"add","path":"/status","value":{"held":{"pods":0,"groups":1}}}]`; string(data) != want {
		t.Errorf("got %s, want %s", data, want)
	}
}
