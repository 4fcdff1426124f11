# The form events have in the log; tests stand with the taps in test/unit/amqp.
MODULES += wire
wire_SRC := $(addprefix gateway/wire/,codec.c codec_value.c codec_write.c event.c event_out.c \
	event_sections.c)
