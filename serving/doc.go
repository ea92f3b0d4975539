// Package serving has what every listener of ours needs, so that a stranger who
// reaches a port can neither fill our memory nor keep others from being answered.
//
//   - [NewServer] is an HTTP server with time-outs and small headers. It speaks
//     HTTP/1 only, as the API server does to webhooks (k8s.io/apiserver, package
//     util/webhook) and kube-scheduler to its extender, which has one request at
//     a time to make: the streams and buffers of HTTP/2 would be for nobody.
//   - [Bound] bounds the connections of a listener. Where there is no room, the
//     caller with the most of them gives up its oldest.
//   - [Authenticate] lets only callers in who have a certificate.
//   - An [Intake] bounds the bodies of requests, how many of them are here at
//     once, and how many answers are in the making.
//   - A [Reader] reads of a body only what is wanted, and each part of that only
//     up to a length. Decoding all into Go's own values takes many times the
//     length: 6.6 MB of empty containers are 300 MB.
//   - A [Review] is what is read of an AdmissionReview.
package serving
