// Package mail carries out mails that an app hands over to the platform.
//
//	run ─▶ letter ─▶ template (the app) ─▶ suppression ─▶ pace ─▶ SMTP ─▶ report
//	                                          ▲ hard bounces      │ no SMTP_URL
//	                                          └───────────────────┴─▶ catcher
//
// A recipient is sent a mail at least once. What was accepted for whom is written
// down as soon as the SMTP server has said so, and a further attempt leaves those
// out; but who dies between that and the writing, or whose connection is cut
// before the server's word, sends again. All attempts have one Message-ID.
package mail
