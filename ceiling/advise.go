package ceiling

import (
	"context"

	admissionv1 "k8s.io/api/admission/v1"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/serving"
)

// AdvicePath is the path at which Advice answers.
const AdvicePath = "/advise"

// maxSpecBytes bounds the spec of a CarbonAwareKedaScaler that is looked at. Some hundred schedules
// fit.
const maxSpecBytes = 32 << 10

// Advice warns the writer of a CarbonAwareKedaScaler of everything there that cannot be meant. It
// refuses nothing and changes nothing.
type Advice struct{ Clock Clock }

// Handle answers for one object.
func (a Advice) Handle(_ context.Context, req serving.Review) *admissionv1.AdmissionResponse {
	answer := &admissionv1.AdmissionResponse{Allowed: true}
	var s carbonaware.CarbonAwareKedaScaler
	r := serving.NewReader(req.Object)
	err := r.Fields("scaler", map[string]func() error{
		"spec": func() error { return r.Decode("spec", maxSpecBytes, &s.Spec) },
	})
	if req.Operation == admissionv1.Delete || err != nil {
		return answer // the API server checks the schema by itself
	}
	answer.Warnings = newEcoRules(&s.Spec, false, a.Clock.Now()).warnings
	if _, err := sourceOf(&s); err != nil {
		answer.Warnings = append(answer.Warnings, "spec.carbonIntensityForecastDataSource: "+err.Error())
	}
	return answer
}
