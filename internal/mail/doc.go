// Package mail carries out mails that an app hands over to the platform.
package mail

import (
	_ "github.com/emersion/go-smtp"
	_ "github.com/wneessen/go-mail"
)
