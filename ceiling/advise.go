package ceiling

import (
	"context"
	"encoding/json"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
)

// AdvicePath is where Advice answers.
const AdvicePath = "/advise"

// Advice warns whoever writes a CarbonAwareKedaScaler of what in it cannot be
// meant. It refuses nothing, and changes nothing.
type Advice struct{ Clock Clock }

// Register makes a server answer.
func (a Advice) Register(server webhook.Server) {
	server.Register(AdvicePath, &admission.Webhook{Handler: a})
}

// Handle answers for one object.
func (a Advice) Handle(_ context.Context, req admission.Request) admission.Response {
	var s v1alpha1.CarbonAwareKedaScaler
	if req.Operation == admissionv1.Delete || json.Unmarshal(req.Object.Raw, &s) != nil {
		return admission.Allowed("") // the API server's own checks have their say
	}
	warnings := newEcoRules(&s.Spec, false, a.Clock.Now()).warnings
	if _, err := sourceOf(&s); err != nil {
		warnings = append(warnings, "spec.carbonIntensityForecastDataSource: "+err.Error())
	}
	return admission.Allowed("").WithWarnings(warnings...)
}
