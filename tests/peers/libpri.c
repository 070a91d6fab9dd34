/*
 * One end of a D channel, made of libpri, that lives in a virtual time: a program for tests, driven by lines.
 *
 *   libpri network|user SWITCH [CHANNEL]
 *
 * With CHANNEL the far end is at DAHDI's D channel of that number, and the time is the true one: "at", "frame" and "done"
 * are not said then, by either side.
 *
 * Each line on stdin is answered by lines on stdout, the last of them "done MS": when a timer is next due, or -1.
 *
 *   at MS                              it is so late
 *   timer NAME VALUE                   as libpri names it: T200, N200, T309 (ms)
 *   frame HEX                          came from the far end, without FCS
 *   dial CHANNEL exclusive|any CALLED CALLING
 *                                      CHANNEL may be INTERFACE.TIMESLOT, also in what it says
 *   as NAME                            who dials from now on
 *   redirected LAST REASON FIRST REASON
 *                                      who was called before the next calls, by libpri's reasons
 *   tells [CALL] TEXT                  what its user tells: in the next SETUP, or with the call's next message
 *   connected CALL NUMBER NAME         who answers
 *   proceeding|alerting|progress|answer CALL [CHANNEL]
 *   hangup CALL CAUSE
 *   join CALL CALL                     asks the exchange to make one call of two
 *   joined CALL NUMBER yes|no          answers "event join", NUMBER being its id
 *   restart CHANNEL
 *   status CHANNEL STATUS              a SERVICE message: 0 in service, 2 out of service
 *
 *   frame HEX                          goes to the far end
 *   event NAME [key=value ...]         what libpri tells its user
 *   says TEXT                          what it complains about
 *
 * Frames that libpri gives to be written, and expects to read, carry two octets in the place of the FCS.
 */

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <time.h>

#include <libpri.h>

enum { FCS = 2, LONGEST = 1024, CALLS = 4096, EXPLICIT = 1 << 16 };

/* As DAHDI's dahdi/user.h has them. */
struct buffers {
	int send_policy, receive_policy, count, size, readable, writable;
};
#define SPECIFY _IOW(0xda, 38, int)
#define GET_EVENT _IOR(0xda, 8, int)
#define SET_BUFFERS _IOW(0xda, 27, struct buffers)

static struct pri *pri;
static int d_channel;
static struct pri_party_redirecting redirected;
static char dials_as[64], tells[260];
static long clock_ms;
static unsigned char incoming[LONGEST];
static int incoming_length;
static q931_call *calls[CALLS];
static int call_count;

/* Takes the place of the C library's, also for libpri: there is no other time here. */
int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec real;

	(void)zone;
	if (d_channel) {
		clock_gettime(CLOCK_REALTIME, &real);
		now->tv_sec = real.tv_sec;
		now->tv_usec = real.tv_nsec / 1000;
		return 0;
	}
	now->tv_sec = 1000 + clock_ms / 1000;
	now->tv_usec = clock_ms % 1000 * 1000;
	return 0;
}

static int read_frame(struct pri *of, void *buffer, int size)
{
	int length = incoming_length;

	(void)of;
	if (length == 0 || length + FCS > size)
		return 0;
	memcpy(buffer, incoming, length);
	memset((char *)buffer + length, 0, FCS);
	incoming_length = 0;
	return length + FCS;
}

static int write_frame(struct pri *of, void *buffer, int length)
{
	const unsigned char *octets = buffer;

	(void)of;
	printf("frame ");
	for (int at = 0; at < length - FCS; at++)
		printf("%02x", octets[at]);
	printf("\n");
	return length;
}

static void complain(struct pri *of, char *text)
{
	(void)of;
	text[strcspn(text, "\r\n")] = '\0';
	if (*text)
		printf("says %s\n", text);
}

static int number_of(q931_call *call)
{
	for (int at = 0; at < call_count; at++)
		if (calls[at] == call)
			return at;
	if (call_count == CALLS)
		exit(3);
	calls[call_count] = call;
	return call_count++;
}

/* The pointer may be given to another call after this. */
static void forget(q931_call *call)
{
	calls[number_of(call)] = NULL;
}

/* INTERFACE.TIMESLOT where the interface was named. */
static const char *slot(int channel)
{
	static char text[24];

	if (channel < 0 || !(channel & EXPLICIT))
		snprintf(text, sizeof text, "%d", channel < 0 ? -1 : channel & 0xff);
	else
		snprintf(text, sizeof text, "%d.%d", channel >> 8 & 0xff, channel & 0xff);
	return text;
}

static int slot_of(const char *text)
{
	int interface, timeslot;

	if (sscanf(text, "%d.%d", &interface, &timeslot) == 2)
		return EXPLICIT | interface << 8 | timeslot;
	return atoi(text);
}

static void tell_call(const char *name, q931_call *call, int channel)
{
	printf("event %s call=%d channel=%s\n", name, number_of(call), slot(channel));
}

static void tell_user(const char *text)
{
	if (*text)
		printf("event told text=%s\n", text);
}

static void tell_connected(const struct pri_subcommands *commands)
{
	for (int at = 0; at < commands->counter_subcmd; at++) {
		const struct pri_party_id *id = &commands->subcmd[at].u.connected_line.id;

		if (commands->subcmd[at].cmd == PRI_SUBCMD_CONNECTED_LINE)
			printf("event connected number=%s name=%s\n", id->number.str, id->name.str);
	}
}

/* What is asked in a facility. */
static void tell_asked(const struct pri_subcommands *asked, q931_call *in)
{
	for (int at = 0; asked && at < asked->counter_subcmd; at++) {
		const struct pri_subcommand *one = &asked->subcmd[at];

		if (one->cmd == PRI_SUBCMD_TRANSFER_CALL)
			printf("event join call=%d with=%d id=%d\n", number_of(one->u.transfer.call_1),
			       number_of(one->u.transfer.call_2), one->u.transfer.invoke_id);
		else
			printf("event facility call=%d what=%d\n", number_of(in), one->cmd);
	}
}

static void tell(const pri_event *event)
{
	q931_call *call;
	int cause;

	switch (event->e) {
	case PRI_EVENT_DCHAN_UP:
		printf("event up\n");
		break;
	case PRI_EVENT_DCHAN_DOWN:
		printf("event down\n");
		break;
	case PRI_EVENT_RING:
		printf("event ring call=%d channel=%s flexible=%d called=%s calling=%s name=%s complete=%d\n",
		       number_of(event->ring.call), slot(event->ring.channel), event->ring.flexible,
		       event->ring.callednum, event->ring.callingnum, event->ring.callingname, event->ring.complete);
		if (*event->ring.redirectingnum)
			printf("event redirected last=%s reason=%d first=%s reason1=%d\n", event->ring.redirectingnum,
			       event->ring.redirectingreason, event->ring.origcallednum, event->ring.origredirectingreason);
		tell_user(event->ring.useruserinfo);
		break;
	case PRI_EVENT_SETUP_ACK:
		tell_call("setup-ack", event->setup_ack.call, event->setup_ack.channel);
		break;
	case PRI_EVENT_PROCEEDING:
		tell_call("proceeding", event->proceeding.call, event->proceeding.channel);
		break;
	case PRI_EVENT_PROGRESS:
		tell_call("progress", event->proceeding.call, event->proceeding.channel);
		break;
	case PRI_EVENT_RINGING:
		tell_call("ringing", event->ringing.call, event->ringing.channel);
		tell_user(event->ringing.useruserinfo);
		break;
	case PRI_EVENT_ANSWER:
		tell_call("answer", event->answer.call, event->answer.channel);
		tell_connected(event->answer.subcmds);
		tell_user(event->answer.useruserinfo);
		break;
	case PRI_EVENT_CONNECT_ACK:
		tell_call("connect-ack", event->connect_ack.call, event->connect_ack.channel);
		break;
	case PRI_EVENT_INFO_RECEIVED:
		printf("event digits call=%d digits=%s\n", number_of(event->ring.call), event->ring.callednum);
		break;
	case PRI_EVENT_HANGUP_REQ:
	case PRI_EVENT_HANGUP:
		printf("event %s call=%d channel=%s cause=%d\n", event->e == PRI_EVENT_HANGUP ? "hangup" : "disconnect",
		       number_of(event->hangup.call), slot(event->hangup.channel), event->hangup.cause);
		tell_user(event->hangup.useruserinfo);
		/* Either wants an answer, else the call stays half alive; after the last word there is no call any more. */
		call = event->hangup.call;
		cause = event->hangup.cause;
		if (event->e == PRI_EVENT_HANGUP)
			forget(call);
		pri_hangup(pri, call, cause);
		break;
	case PRI_EVENT_HANGUP_ACK:
		printf("event hungup call=%d\n", number_of(event->hangup.call));
		forget(event->hangup.call);
		break;
	case PRI_EVENT_RESTART:
		/* libpri leaves it to its user to forget the calls of a whole interface. */
		for (int at = 0; event->restart.channel == -1 && at < call_count; at++)
			if (calls[at]) {
				pri_destroycall(pri, calls[at]);
				calls[at] = NULL;
			}
		printf("event restart channel=%s\n", slot(event->restart.channel));
		break;
	case PRI_EVENT_RESTART_ACK:
		printf("event restart-ack channel=%s\n", slot(event->restartack.channel));
		break;
	case PRI_EVENT_SERVICE:
		printf("event status channel=%s status=%d\n", slot(event->service.channel), event->service.changestatus);
		break;
	case PRI_EVENT_SERVICE_ACK:
		printf("event status-ack channel=%s status=%d\n", slot(event->service_ack.channel),
		       event->service_ack.changestatus);
		break;
	case PRI_EVENT_FACILITY:
		tell_asked(event->facility.subcmds, event->facility.call);
		break;
	default:
		printf("event other name=%s\n", pri_event2str(event->e));
	}
}

static void take(const char *hex)
{
	unsigned int octet;
	pri_event *event;

	for (incoming_length = 0; incoming_length < LONGEST - FCS && sscanf(hex, "%2x", &octet) == 1; hex += 2)
		incoming[incoming_length++] = octet;
	/* One call reads one frame; a further one may tell what is left of it. */
	while (incoming_length > 0)
		if ((event = pri_check_event(pri)))
			tell(event);
}

static void number_is(struct pri_party_number *number, const char *digits)
{
	number->valid = 1;
	number->presentation = PRES_ALLOWED_USER_NUMBER_NOT_SCREENED;
	number->plan = PRI_NATIONAL_ISDN;
	snprintf(number->str, sizeof number->str, "%s", digits);
}

static void name_is(struct pri_party_name *name, const char *text)
{
	name->valid = *text != 0;
	name->presentation = PRI_PRES_ALLOWED;
	name->char_set = PRI_CHAR_SET_ISO8859_1;
	snprintf(name->str, sizeof name->str, "%s", text);
}

static int answers_as(q931_call *call, const char *digits, const char *name)
{
	struct pri_party_connected_line line;

	memset(&line, 0, sizeof line);
	number_is(&line.id.number, digits);
	name_is(&line.id.name, name);
	return pri_connected_line_update(pri, call, &line);
}

static int dial(int channel, const char *choice, char *called, char *calling)
{
	q931_call *call = pri_new_call(pri);
	struct pri_sr *wish = pri_sr_new();
	int failed;

	printf("event dialled call=%d\n", number_of(call));
	pri_sr_set_channel(wish, channel, strcmp(choice, "exclusive") == 0, 0);
	pri_sr_set_bearer(wish, PRI_TRANS_CAP_SPEECH, PRI_LAYER_1_ULAW);
	pri_sr_set_called(wish, called, PRI_NATIONAL_ISDN, 1);
	pri_sr_set_caller(wish, calling, *dials_as ? dials_as : NULL, PRI_NATIONAL_ISDN,
			  PRES_ALLOWED_USER_NUMBER_NOT_SCREENED);
	if (redirected.count)
		pri_sr_set_redirecting_parties(wish, &redirected);
	if (*tells)
		pri_sr_set_useruser(wish, tells);
	failed = pri_setup(pri, call, wish);
	pri_sr_free(wish);
	return failed;
}

static q931_call *call_at(int number)
{
	if (number < 0 || number >= call_count || !calls[number]) {
		printf("says there is no call %d\n", number);
		return NULL;
	}
	return calls[number];
}

static void order(const char *word, const char *rest)
{
	char first[2 * LONGEST], second[64], third[64], choice[16];
	int number = atoi(rest), value = 0, failed = 0;
	q931_call *call, *with;

	sscanf(rest, "%*d %d", &value);
	if (strcmp(word, "at") == 0)
		clock_ms = atol(rest);
	else if (strcmp(word, "timer") == 0 && sscanf(rest, "%63s %d", second, &value) == 2)
		failed = pri_set_timer(pri, pri_timer2idx(second), value);
	else if (strcmp(word, "frame") == 0 && sscanf(rest, "%2047s", first) == 1)
		take(first);
	else if (strcmp(word, "dial") == 0 && sscanf(rest, "%63s %15s %2047s %63s", second, choice, first, third) == 4)
		failed = dial(slot_of(second), choice, first, third);
	else if (strcmp(word, "as") == 0)
		failed = sscanf(rest, "%63s", dials_as) != 1;
	else if (strcmp(word, "redirected") == 0) {
		failed = sscanf(rest, "%63s %d %2047s %d", second, &redirected.reason, first, &redirected.orig_reason) != 4;
		number_is(&redirected.from.number, second);
		number_is(&redirected.orig_called.number, first);
		redirected.count = 2;
	} else if (strcmp(word, "tells") == 0 && sscanf(rest, "%*d %259s", first) != 1)
		failed = sscanf(rest, "%259s", tells) != 1;
	else if (strcmp(word, "restart") == 0)
		failed = pri_reset(pri, slot_of(rest));
	else if (strcmp(word, "status") == 0)
		failed = pri_maintenance_service(pri, 0, number, value);
	else if (!(call = call_at(number)))
		return;
	else if (strcmp(word, "proceeding") == 0)
		failed = pri_proceeding(pri, call, value, 0);
	else if (strcmp(word, "alerting") == 0)
		failed = pri_acknowledge(pri, call, value, 0);
	else if (strcmp(word, "progress") == 0)
		failed = pri_progress(pri, call, value, 1);
	else if (strcmp(word, "answer") == 0)
		failed = pri_answer(pri, call, value, 0);
	else if (strcmp(word, "tells") == 0)
		pri_call_set_useruser(call, first);
	else if (strcmp(word, "connected") == 0 && sscanf(rest, "%*d %63s %2047s", second, first) == 2)
		failed = answers_as(call, second, first);
	else if (strcmp(word, "join") == 0 && (with = call_at(value)))
		failed = pri_channel_bridge(call, with);
	else if (strcmp(word, "joined") == 0)
		failed = pri_transfer_rsp(pri, call, value, strstr(rest, "yes") != NULL);
	else if (strcmp(word, "hangup") == 0)
		failed = pri_hangup(pri, call, value);
	else
		failed = 1;
	if (failed)
		printf("says %s did not work\n", word);
}

static void run_timers(void)
{
	pri_event *event;

	while ((event = pri_schedule_run(pri)))
		tell(event);
}

static long next_ms(void)
{
	struct timeval *next = pri_schedule_next(pri);

	/* Rounded up, so that the timer is due when its time is said to have come. */
	return next ? (next->tv_sec - 1000) * 1000 + (next->tv_usec + 999) / 1000 : -1;
}

static int switch_type(const char *name)
{
	static const struct {
		const char *name;
		int type;
	} types[] = {
		{ "ni2", PRI_SWITCH_NI2 }, { "ni1", PRI_SWITCH_NI1 }, { "dms100", PRI_SWITCH_DMS100 },
		{ "5ess", PRI_SWITCH_LUCENT5E }, { "4ess", PRI_SWITCH_ATT4ESS }, { "euroisdn", PRI_SWITCH_EUROISDN_E1 },
		{ "qsig", PRI_SWITCH_QSIG },
	};

	for (unsigned int at = 0; at < sizeof types / sizeof *types; at++)
		if (strcmp(types[at].name, name) == 0)
			return types[at].type;
	fprintf(stderr, "no switch type %s\n", name);
	exit(2);
}

static int open_channel(void)
{
	struct buffers buffers = { .count = 32, .size = LONGEST };
	int file = open("/dev/dahdi/channel", O_RDWR | O_NONBLOCK);

	if (file < 0 || ioctl(file, SPECIFY, &d_channel) || ioctl(file, SET_BUFFERS, &buffers)) {
		perror("DAHDI's channel");
		exit(1);
	}
	return file;
}

/* False when there are no more orders. */
static int take_order(void)
{
	char line[3 * LONGEST], word[32] = "";

	if (!fgets(line, sizeof line, stdin))
		return 0;
	sscanf(line, "%31s", word);
	order(word, line + strlen(word));
	return 1;
}

static int wait_ms(void)
{
	struct timeval now, *next = pri_schedule_next(pri);
	long left;

	if (!next)
		return -1;
	gettimeofday(&now, NULL);
	left = (next->tv_sec - now.tv_sec) * 1000 + (next->tv_usec - now.tv_usec + 999) / 1000;
	return left < 0 ? 0 : left;
}

/* Until there are no more orders. */
static void run(int file)
{
	struct pollfd ends[] = { { .fd = 0, .events = POLLIN }, { .fd = file, .events = POLLIN | POLLPRI } };
	pri_event *event;
	int alarm;

	do {
		fflush(stdout);
		poll(ends, 2, wait_ms());
		/* While an event waits, nothing can be read or written. */
		if (ends[1].revents & (POLLPRI | POLLERR))
			while (ioctl(file, GET_EVENT, &alarm) == 0 && alarm)
				;
		if (ends[1].revents & POLLIN && (event = pri_check_event(pri)))
			tell(event);
		run_timers();
	} while (!(ends[0].revents & (POLLIN | POLLHUP)) || take_order());
}

int main(int count, char **words)
{
	int file = 0;

	if (count != 3 && count != 4) {
		fprintf(stderr, "libpri network|user SWITCH [CHANNEL]\n");
		return 2;
	}
	if (count == 4) {
		d_channel = atoi(words[3]);
		file = open_channel();
		/* Else orders could wait where poll does not see them. */
		setvbuf(stdin, NULL, _IONBF, 0);
	}
	pri_set_message(complain);
	pri_set_error(complain);
	pri = pri_new_cb(file, strcmp(words[1], "network") == 0 ? PRI_NETWORK : PRI_CPE, switch_type(words[2]),
			 d_channel ? NULL : read_frame, d_channel ? NULL : write_frame, NULL);
	if (!pri)
		return 1;
	pri_hangup_fix_enable(pri, 1);
	pri_set_service_message_support(pri, 1);
	pri_facility_enable(pri);
	pri_transfer_enable(pri, 1);
	if (d_channel) {
		run(file);
		return 0;
	}
	do {
		printf("done %ld\n", next_ms());
		fflush(stdout);
		if (!take_order())
			return 0;
		run_timers();
	} while (1);
}
