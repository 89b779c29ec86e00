SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.account (
    name text NOT NULL,
    paused_by text,
    pause_reason text,
    paused_kind text,
    changed_at timestamp with time zone,
    not_before timestamp with time zone,
    failures integer DEFAULT 0 NOT NULL,
    breaker text,
    breaker_reason text,
    breaker_at timestamp with time zone,
    check_at timestamp with time zone,
    checks integer DEFAULT 0 NOT NULL,
    check_lease_until timestamp with time zone,
    messages_paid_until timestamp with time zone,
    parts_paid_until timestamp with time zone,
    requests_paid_until timestamp with time zone,
    looks integer DEFAULT 0 NOT NULL,
    look_lease_until timestamp with time zone,
    day_until timestamp with time zone,
    day_count integer DEFAULT 0 NOT NULL,
    turn bigint DEFAULT '0'::bigint NOT NULL
);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.attempt (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    batch_id bigint NOT NULL,
    account text NOT NULL,
    fence integer DEFAULT 0 NOT NULL,
    size integer DEFAULT 0 NOT NULL,
    outcome smallint DEFAULT '0'::smallint NOT NULL,
    begun_at timestamp with time zone NOT NULL,
    deadline timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    job_id text,
    error_code text,
    error text,
    poll_at timestamp with time zone,
    poll_until timestamp with time zone,
    poll_lease_until timestamp with time zone,
    polls integer DEFAULT 0 NOT NULL,
    doubt_at timestamp with time zone,
    reconcile_at timestamp with time zone,
    looks smallint
);
CREATE SEQUENCE public.attempt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.attempt_id_seq OWNED BY public.attempt.id;
CREATE TABLE public.audit (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    account text,
    campaign_id bigint,
    detail text
);
CREATE SEQUENCE public.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.audit_id_seq OWNED BY public.audit.id;
CREATE TABLE public.batch (
    id bigint NOT NULL,
    campaign_id bigint NOT NULL,
    seq integer DEFAULT 0 NOT NULL,
    account text NOT NULL,
    encoding smallint DEFAULT '0'::smallint NOT NULL,
    zone text,
    first_seq integer DEFAULT 0 NOT NULL,
    size integer DEFAULT 0 NOT NULL,
    parts integer DEFAULT 0 NOT NULL,
    requests integer DEFAULT 1 NOT NULL,
    state smallint DEFAULT '0'::smallint NOT NULL,
    fence integer DEFAULT 0 NOT NULL,
    is_probe boolean DEFAULT false NOT NULL,
    not_before timestamp with time zone,
    queued_at timestamp with time zone,
    lease_until timestamp with time zone,
    tries integer DEFAULT 0 NOT NULL,
    lost smallint DEFAULT '0'::smallint NOT NULL,
    error text,
    pending integer DEFAULT 0 NOT NULL,
    submitted integer DEFAULT 0 NOT NULL,
    delivered integer DEFAULT 0 NOT NULL,
    undelivered integer DEFAULT 0 NOT NULL,
    expired integer DEFAULT 0 NOT NULL,
    rejected integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    in_doubt integer DEFAULT 0 NOT NULL,
    suppressed integer DEFAULT 0 NOT NULL,
    cancelled integer DEFAULT 0 NOT NULL,
    lapsed integer DEFAULT 0 NOT NULL,
    no_receipt integer DEFAULT 0 NOT NULL,
    cost numeric(18,6)
);
CREATE SEQUENCE public.batch_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.batch_id_seq OWNED BY public.batch.id;
CREATE TABLE public.campaign (
    id bigint NOT NULL,
    name text NOT NULL,
    state text NOT NULL,
    state_reason text,
    account text NOT NULL,
    kind text NOT NULL,
    sender text NOT NULL,
    template text,
    sender_ref text,
    template_ref text,
    text text NOT NULL,
    columns text NOT NULL,
    source_name text NOT NULL,
    content_key text NOT NULL,
    idempotency_key text,
    priority smallint DEFAULT '0'::smallint NOT NULL,
    one_off boolean DEFAULT false NOT NULL,
    rate double precision,
    paid_until timestamp with time zone,
    start_at timestamp with time zone,
    expire_at timestamp with time zone,
    schedule text,
    zones text,
    flash boolean DEFAULT false NOT NULL,
    template_columns text,
    contact_lists text,
    routes text,
    schedule_at timestamp with time zone,
    turn bigint DEFAULT '0'::bigint NOT NULL,
    on_doubt text NOT NULL,
    import_fence integer DEFAULT 0 NOT NULL,
    import_lease_until timestamp with time zone,
    import_writer text,
    rows integer DEFAULT 0 NOT NULL,
    total integer DEFAULT 0 NOT NULL,
    invalid integer DEFAULT 0 NOT NULL,
    duplicate integer DEFAULT 0 NOT NULL,
    suppressed integer DEFAULT 0 NOT NULL,
    parts integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone
);
CREATE SEQUENCE public.campaign_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.campaign_id_seq OWNED BY public.campaign.id;
CREATE TABLE public.identity (
    id smallint NOT NULL,
    store_id text NOT NULL,
    place text,
    attempt_id bigint NOT NULL,
    witnessed_id bigint NOT NULL,
    held text
);
CREATE TABLE public.message (
    campaign_id bigint NOT NULL,
    seq integer NOT NULL,
    "row" integer NOT NULL,
    msisdn bigint NOT NULL,
    parts smallint DEFAULT '1'::smallint NOT NULL,
    state smallint DEFAULT '0'::smallint NOT NULL,
    attempts smallint DEFAULT '0'::smallint NOT NULL,
    attempt_id bigint,
    final_at timestamp with time zone,
    cost numeric(18,6),
    provider_message_id text,
    error_code text,
    error text,
    note smallint,
    variables text
)
WITH (fillfactor='50');
CREATE TABLE public.other_id (
    account text NOT NULL,
    provider_message_id text NOT NULL,
    msisdn bigint NOT NULL,
    campaign_id bigint NOT NULL,
    seq integer NOT NULL,
    attempt_id bigint NOT NULL,
    at timestamp with time zone NOT NULL
);
CREATE TABLE public.reject (
    campaign_id bigint NOT NULL,
    "row" integer NOT NULL,
    kind smallint DEFAULT '0'::smallint NOT NULL,
    msisdn bigint,
    reason text NOT NULL,
    cells text NOT NULL
);
CREATE TABLE public.scheduler (
    id smallint NOT NULL,
    ticked_at timestamp with time zone,
    judge_after timestamp with time zone,
    corrections text NOT NULL
);
CREATE TABLE public.source_rows (
    campaign_id bigint NOT NULL,
    first_seq integer NOT NULL,
    cells bytea NOT NULL
);
CREATE TABLE public.worker (
    name text NOT NULL,
    concurrency integer DEFAULT 0 NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL
);
ALTER TABLE ONLY public.attempt ALTER COLUMN id SET DEFAULT nextval('public.attempt_id_seq'::regclass);
ALTER TABLE ONLY public.audit ALTER COLUMN id SET DEFAULT nextval('public.audit_id_seq'::regclass);
ALTER TABLE ONLY public.batch ALTER COLUMN id SET DEFAULT nextval('public.batch_id_seq'::regclass);
ALTER TABLE ONLY public.campaign ALTER COLUMN id SET DEFAULT nextval('public.campaign_id_seq'::regclass);
INSERT INTO public.account VALUES ('main', NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, 0, NULL, '2025-01-06 13:58:08.256274+00', NULL, NULL, 0, NULL, NULL, 0, 39);
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.attempt VALUES (1, 1, 1, 'main', 2, 5, 1, '2025-01-06 13:58:02.249996+00', '2025-01-06 13:58:37.299996+00', '2025-01-06 13:58:02.328686+00', '181056657', NULL, NULL, NULL, '2025-01-06 13:58:38.328686+00', NULL, 1, NULL, NULL, NULL);
INSERT INTO public.attempt VALUES (2, 1, 2, 'main', 2, 5, 1, '2025-01-06 13:58:02.591541+00', '2025-01-06 13:58:37.799996+00', '2025-01-06 13:58:02.805478+00', '181056658', NULL, NULL, NULL, '2025-01-06 13:58:38.805478+00', NULL, 1, NULL, NULL, NULL);
INSERT INTO public.attempt VALUES (3, 1, 3, 'main', 2, 5, 3, '2025-01-06 13:58:03.218025+00', '2025-01-06 13:58:38.299996+00', '2025-01-06 13:58:03.314084+00', NULL, '502', 'the provider answered HTTP 502', NULL, NULL, NULL, 0, '2025-01-06 13:58:03.314084+00', NULL, 0);
INSERT INTO public.attempt VALUES (7, 1, 6, 'main', 2, 5, 0, '2025-01-06 13:58:07.043073+00', '2025-01-06 13:58:42.256274+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL);
INSERT INTO public.attempt VALUES (4, 1, 4, 'main', 4, 1, 1, '2025-01-06 13:58:06.1836+00', '2025-01-06 13:58:41.2336+00', '2025-01-06 13:58:06.240612+00', '181056660', NULL, NULL, NULL, '2025-01-06 13:58:42.240612+00', NULL, 1, NULL, NULL, NULL);
INSERT INTO public.attempt VALUES (5, 1, 4, 'main', 6, 4, 1, '2025-01-06 13:58:06.306274+00', '2025-01-06 13:58:41.356274+00', '2025-01-06 13:58:06.496705+00', '181056661', NULL, NULL, NULL, '2025-01-06 13:58:42.496705+00', NULL, 1, NULL, NULL, NULL);
INSERT INTO public.attempt VALUES (6, 1, 5, 'main', 2, 5, 1, '2025-01-06 13:58:06.497024+00', '2025-01-06 13:58:41.756274+00', '2025-01-06 13:58:06.774854+00', '181056662', NULL, NULL, NULL, '2025-01-06 13:58:42.774854+00', NULL, 1, NULL, NULL, NULL);
INSERT INTO public.attempt VALUES (8, 1, 7, 'main', 2, 5, 0, '2025-01-06 13:58:07.518935+00', '2025-01-06 13:58:42.756274+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL);
INSERT INTO public.audit VALUES (1, '2025-01-06 13:58:03.314084+00', 'dispatcher', 'account breaker opened', 'main', NULL, 'the provider answered HTTP 502');
INSERT INTO public.audit VALUES (2, '2025-01-06 13:58:06.240612+00', 'dispatcher', 'account breaker closed', 'main', NULL, NULL);
INSERT INTO public.batch VALUES (8, 1, 7, 'main', 0, NULL, 35, 5, 5, 1, 0, 0, false, NULL, NULL, NULL, 0, 0, NULL, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (9, 1, 8, 'main', 0, NULL, 40, 5, 5, 1, 0, 0, false, NULL, NULL, NULL, 0, 0, NULL, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (10, 1, 9, 'main', 0, NULL, 45, 5, 5, 1, 0, 0, false, NULL, NULL, NULL, 0, 0, NULL, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (11, 1, 10, 'main', 0, NULL, 50, 5, 5, 1, 0, 0, false, NULL, NULL, NULL, 0, 0, NULL, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (12, 1, 11, 'main', 0, NULL, 55, 5, 5, 1, 0, 0, false, NULL, NULL, NULL, 0, 0, NULL, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (1, 1, 0, 'main', 0, NULL, 0, 5, 5, 1, 4, 2, false, NULL, '2025-01-06 13:58:02.130917+00', NULL, 0, 0, NULL, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (3, 1, 2, 'main', 0, NULL, 10, 5, 5, 1, 4, 2, false, NULL, '2025-01-06 13:58:02.354588+00', NULL, 0, 0, 'the provider answered HTTP 502', 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (2, 1, 1, 'main', 0, NULL, 5, 5, 5, 1, 4, 2, false, NULL, '2025-01-06 13:58:02.130917+00', NULL, 0, 0, NULL, 0, 0, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (6, 1, 5, 'main', 0, NULL, 25, 5, 5, 1, 3, 2, false, NULL, '2025-01-06 13:58:06.542568+00', '2025-01-06 13:58:11.734893+00', 0, 0, NULL, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (4, 1, 3, 'main', 0, NULL, 15, 5, 5, 1, 4, 6, false, NULL, '2025-01-06 13:58:06.262239+00', NULL, 0, 0, NULL, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (5, 1, 4, 'main', 0, NULL, 20, 5, 5, 1, 4, 2, false, NULL, '2025-01-06 13:58:06.262239+00', NULL, 0, 0, NULL, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.batch VALUES (7, 1, 6, 'main', 0, NULL, 30, 5, 5, 1, 3, 2, false, NULL, '2025-01-06 13:58:06.801105+00', '2025-01-06 13:58:12.005552+00', 0, 0, NULL, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL);
INSERT INTO public.campaign VALUES (1, 'half sent', 'running', NULL, 'main', 'transactional', 'SENDER', 'TEMPLATE', '4101', '1107160000000007201', 'Hello {{name}}, your order is ready.', '["phone","name"]', 'people.csv', '2123bdcc1757332a9c85c0465ec587f161bef0281e63435a0c74696820eca87e', NULL, 0, false, NULL, NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, 44, 'hold', 1, NULL, '28e884ec-d823-4430-9dc8-71dd56223b4b 4026531836 12151-639474', 60, 60, 0, 0, 0, 60, '2025-01-06 13:58:00.610368+00', '2025-01-06 13:58:02.130917+00', NULL);
INSERT INTO public.identity VALUES (1, 'cb2d1c70-17ff-4a5f-9a43-bc385083ebb1', '7713592345653550838/00000001/16384/16410', 7, 7, NULL);
INSERT INTO public.message VALUES (1, 35, 36, 919830000035, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 414"]');
INSERT INTO public.message VALUES (1, 36, 37, 919830000036, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 415"]');
INSERT INTO public.message VALUES (1, 37, 38, 919830000037, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 416"]');
INSERT INTO public.message VALUES (1, 38, 39, 919830000038, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 417"]');
INSERT INTO public.message VALUES (1, 39, 40, 919830000039, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 418"]');
INSERT INTO public.message VALUES (1, 40, 41, 919830000040, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 419"]');
INSERT INTO public.message VALUES (1, 41, 42, 919830000041, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 420"]');
INSERT INTO public.message VALUES (1, 42, 43, 919830000042, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 421"]');
INSERT INTO public.message VALUES (1, 43, 44, 919830000043, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 422"]');
INSERT INTO public.message VALUES (1, 44, 45, 919830000044, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 423"]');
INSERT INTO public.message VALUES (1, 45, 46, 919830000045, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 424"]');
INSERT INTO public.message VALUES (1, 46, 47, 919830000046, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 425"]');
INSERT INTO public.message VALUES (1, 47, 48, 919830000047, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 426"]');
INSERT INTO public.message VALUES (1, 5, 6, 919830000005, 1, 2, 1, 2, '2025-01-06 13:58:03.366208+00', NULL, '20806968188', NULL, NULL, NULL, '["Name 384"]');
INSERT INTO public.message VALUES (1, 6, 7, 919830000006, 1, 2, 1, 2, '2025-01-06 13:58:03.366208+00', NULL, '20806968189', NULL, NULL, NULL, '["Name 385"]');
INSERT INTO public.message VALUES (1, 7, 8, 919830000007, 1, 2, 1, 2, '2025-01-06 13:58:03.366208+00', NULL, '20806968190', NULL, NULL, NULL, '["Name 386"]');
INSERT INTO public.message VALUES (1, 8, 9, 919830000008, 1, 3, 1, 2, '2025-01-06 13:58:03.366208+00', NULL, '20806968191', NULL, 'UnDelivered', NULL, '["Name 387"]');
INSERT INTO public.message VALUES (1, 9, 10, 919830000009, 1, 3, 1, 2, '2025-01-06 13:58:03.366208+00', NULL, '20806968192', NULL, 'UnDelivered', NULL, '["Name 388"]');
INSERT INTO public.message VALUES (1, 30, 31, 919830000030, 1, 0, 1, 8, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 409"]');
INSERT INTO public.message VALUES (1, 16, 17, 919830000016, 1, 2, 1, 5, '2025-01-06 13:58:07.279564+00', NULL, '20806968199', NULL, NULL, NULL, '["Name 395"]');
INSERT INTO public.message VALUES (1, 31, 32, 919830000031, 1, 0, 1, 8, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 410"]');
INSERT INTO public.message VALUES (1, 32, 33, 919830000032, 1, 0, 1, 8, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 411"]');
INSERT INTO public.message VALUES (1, 33, 34, 919830000033, 1, 0, 1, 8, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 412"]');
INSERT INTO public.message VALUES (1, 25, 26, 919830000025, 1, 0, 1, 7, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 404"]');
INSERT INTO public.message VALUES (1, 26, 27, 919830000026, 1, 0, 1, 7, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 405"]');
INSERT INTO public.message VALUES (1, 27, 28, 919830000027, 1, 0, 1, 7, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 406"]');
INSERT INTO public.message VALUES (1, 28, 29, 919830000028, 1, 0, 1, 7, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 407"]');
INSERT INTO public.message VALUES (1, 29, 30, 919830000029, 1, 0, 1, 7, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 408"]');
INSERT INTO public.message VALUES (1, 0, 1, 919830000000, 1, 2, 1, 1, '2025-01-06 13:58:03.31982+00', NULL, '20806968183', NULL, NULL, NULL, '["Name 379"]');
INSERT INTO public.message VALUES (1, 1, 2, 919830000001, 1, 2, 1, 1, '2025-01-06 13:58:03.31982+00', NULL, '20806968184', NULL, NULL, NULL, '["Name 380"]');
INSERT INTO public.message VALUES (1, 2, 3, 919830000002, 1, 2, 1, 1, '2025-01-06 13:58:03.31982+00', NULL, '20806968185', NULL, NULL, NULL, '["Name 381"]');
INSERT INTO public.message VALUES (1, 3, 4, 919830000003, 1, 2, 1, 1, '2025-01-06 13:58:03.31982+00', NULL, '20806968186', NULL, NULL, NULL, '["Name 382"]');
INSERT INTO public.message VALUES (1, 4, 5, 919830000004, 1, 2, 1, 1, '2025-01-06 13:58:03.31982+00', NULL, '20806968187', NULL, NULL, NULL, '["Name 383"]');
INSERT INTO public.message VALUES (1, 10, 11, 919830000010, 1, 7, 1, 3, NULL, NULL, NULL, '502', 'the provider answered HTTP 502', NULL, '["Name 389"]');
INSERT INTO public.message VALUES (1, 11, 12, 919830000011, 1, 7, 1, 3, NULL, NULL, NULL, '502', 'the provider answered HTTP 502', NULL, '["Name 390"]');
INSERT INTO public.message VALUES (1, 12, 13, 919830000012, 1, 7, 1, 3, NULL, NULL, NULL, '502', 'the provider answered HTTP 502', NULL, '["Name 391"]');
INSERT INTO public.message VALUES (1, 13, 14, 919830000013, 1, 7, 1, 3, NULL, NULL, NULL, '502', 'the provider answered HTTP 502', NULL, '["Name 392"]');
INSERT INTO public.message VALUES (1, 14, 15, 919830000014, 1, 7, 1, 3, NULL, NULL, NULL, '502', 'the provider answered HTTP 502', NULL, '["Name 393"]');
INSERT INTO public.message VALUES (1, 20, 21, 919830000020, 1, 2, 1, 6, '2025-01-06 13:58:07.296311+00', NULL, '20806968203', NULL, NULL, NULL, '["Name 399"]');
INSERT INTO public.message VALUES (1, 21, 22, 919830000021, 1, 2, 1, 6, '2025-01-06 13:58:07.296311+00', NULL, '20806968204', NULL, NULL, NULL, '["Name 400"]');
INSERT INTO public.message VALUES (1, 22, 23, 919830000022, 1, 2, 1, 6, '2025-01-06 13:58:07.296311+00', NULL, '20806968205', NULL, NULL, NULL, '["Name 401"]');
INSERT INTO public.message VALUES (1, 23, 24, 919830000023, 1, 2, 1, 6, '2025-01-06 13:58:07.296311+00', NULL, '20806968206', NULL, NULL, NULL, '["Name 402"]');
INSERT INTO public.message VALUES (1, 34, 35, 919830000034, 1, 0, 1, 8, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 413"]');
INSERT INTO public.message VALUES (1, 15, 16, 919830000015, 1, 2, 1, 4, '2025-01-06 13:58:07.266964+00', NULL, '20806968198', NULL, NULL, NULL, '["Name 394"]');
INSERT INTO public.message VALUES (1, 17, 18, 919830000017, 1, 2, 1, 5, '2025-01-06 13:58:07.279564+00', NULL, '20806968200', NULL, NULL, NULL, '["Name 396"]');
INSERT INTO public.message VALUES (1, 18, 19, 919830000018, 1, 2, 1, 5, '2025-01-06 13:58:07.279564+00', NULL, '20806968201', NULL, NULL, NULL, '["Name 397"]');
INSERT INTO public.message VALUES (1, 19, 20, 919830000019, 1, 3, 1, 5, '2025-01-06 13:58:07.279564+00', NULL, '20806968202', NULL, 'UnDelivered', NULL, '["Name 398"]');
INSERT INTO public.message VALUES (1, 24, 25, 919830000024, 1, 2, 1, 6, '2025-01-06 13:58:07.296311+00', NULL, '20806968207', NULL, NULL, NULL, '["Name 403"]');
INSERT INTO public.message VALUES (1, 48, 49, 919830000048, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 427"]');
INSERT INTO public.message VALUES (1, 49, 50, 919830000049, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 428"]');
INSERT INTO public.message VALUES (1, 50, 51, 919830000050, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 429"]');
INSERT INTO public.message VALUES (1, 51, 52, 919830000051, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 430"]');
INSERT INTO public.message VALUES (1, 52, 53, 919830000052, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 431"]');
INSERT INTO public.message VALUES (1, 53, 54, 919830000053, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 432"]');
INSERT INTO public.message VALUES (1, 54, 55, 919830000054, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 433"]');
INSERT INTO public.message VALUES (1, 55, 56, 919830000055, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 434"]');
INSERT INTO public.message VALUES (1, 56, 57, 919830000056, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 435"]');
INSERT INTO public.message VALUES (1, 57, 58, 919830000057, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 436"]');
INSERT INTO public.message VALUES (1, 58, 59, 919830000058, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 437"]');
INSERT INTO public.message VALUES (1, 59, 60, 919830000059, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '["Name 438"]');
INSERT INTO public.scheduler VALUES (1, '2025-01-06 13:58:07.165855+00', '2025-01-06 13:58:02.062971+00', '{}');
INSERT INTO public.source_rows VALUES (1, 0, '\x78018b8e56b234b4b430368000251d25bfc4dc540563734ba5581d143943b89c8501ba9c1142ce105dce182167842e67829033568a8d0500b5781f9f');
INSERT INTO public.source_rows VALUES (1, 5, '\x78018b8e56b234b4b43036000353251d25bfc4dc5405630b13a5581d143933849c29ba9c3942ce0c5dce0221678e2e678990b3508a8d0500be301fc8');
INSERT INTO public.source_rows VALUES (1, 10, '\x78018b8e56b234b4b4303600014303251d25bfc4dc5405630b4ba5581d143943b89ca501ba9c1142ce105dce182167842e67829033568a8d0500b8111fa9');
INSERT INTO public.source_rows VALUES (1, 15, '\x78018b8e56b234b4b4303600014353251d25bfc4dc5405634b13a5581d143933849c29ba9c3942ce0c5dce0221678e2e678990b3508a8d0500c0c91fd2');
INSERT INTO public.source_rows VALUES (1, 20, '\x78018b8e56b234b4b4303600012303251d25bfc4dc5405634b4ba5581d143943989c898101ba9c1142ce105dce182167842e67829033568a8d0500b4121f8f');
INSERT INTO public.source_rows VALUES (1, 25, '\x78018b8e56b234b4b4303600012353251d25bfc4dc5405130313a5581d143933849c29ba9c3942ce0c5dce0221678e2e678990b3508a8d0500b8ae1faf');
INSERT INTO public.source_rows VALUES (1, 30, '\x78018b8e56b234b4b4303600016303251d25bfc4dc540513034ba5581d143943b89ca101ba9c1142ce105dce182167842e67829033568a8d0500b28f1f90');
INSERT INTO public.source_rows VALUES (1, 35, '\x78018b8e56b234b4b4303600016353251d25bfc4dc5405134313a5581d143933849c29ba9c3942ce0c5dce0221678e2e678990b3508a8d0500bb471fb9');
INSERT INTO public.source_rows VALUES (1, 40, '\x78018b8e56b234b4b4303600011303251d25bfc4dc540513434ba5581d143943b89c9101ba9c1142ce105dce182167842e67829033568a8d0500b5281f9a');
INSERT INTO public.source_rows VALUES (1, 45, '\x78018b8e56b234b4b4303600011353251d25bfc4dc5405132313a5581d143933849c29ba9c3942ce0c5dce0221678e2e678990b3508a8d0500bde01fc3');
INSERT INTO public.source_rows VALUES (1, 50, '\x78018b8e56b234b4b4303600015303251d25bfc4dc540513234ba5581d143943b89cb101ba9c1142ce105dce182167842e67829033568a8d0500b7c11fa4');
INSERT INTO public.source_rows VALUES (1, 55, '\x78018b8e56b234b4b4303600015353251d25bfc4dc5405136313a5581d143933849c29ba9c3942ce0c5dce0221678e2e678990b3508a8d0500c0791fcd');
INSERT INTO public.worker VALUES ('vm:12161', 16, '2025-01-06 13:58:01.564649+00', '2025-01-06 13:58:06.734893+00');
SELECT pg_catalog.setval('public.attempt_id_seq', 8, true);
SELECT pg_catalog.setval('public.audit_id_seq', 2, true);
SELECT pg_catalog.setval('public.batch_id_seq', 12, true);
SELECT pg_catalog.setval('public.campaign_id_seq', 1, true);
ALTER TABLE ONLY public.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.batch
    ADD CONSTRAINT batch_campaign_id_seq_key UNIQUE (campaign_id, seq);
ALTER TABLE ONLY public.batch
    ADD CONSTRAINT batch_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.campaign
    ADD CONSTRAINT campaign_idempotency_key_key UNIQUE (idempotency_key);
ALTER TABLE ONLY public.campaign
    ADD CONSTRAINT campaign_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.identity
    ADD CONSTRAINT identity_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.message
    ADD CONSTRAINT message_msisdn_campaign_id_key UNIQUE (msisdn, campaign_id);
ALTER TABLE ONLY public.message
    ADD CONSTRAINT message_pkey PRIMARY KEY (campaign_id, seq);
ALTER TABLE ONLY public.other_id
    ADD CONSTRAINT other_id_pkey PRIMARY KEY (account, provider_message_id);
ALTER TABLE ONLY public.reject
    ADD CONSTRAINT reject_pkey PRIMARY KEY (campaign_id, "row");
ALTER TABLE ONLY public.scheduler
    ADD CONSTRAINT scheduler_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.source_rows
    ADD CONSTRAINT source_rows_pkey PRIMARY KEY (campaign_id, first_seq);
ALTER TABLE ONLY public.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (name);
CREATE INDEX ix_attempt_batch ON public.attempt USING btree (batch_id);
CREATE INDEX ix_attempt_doubt ON public.attempt USING btree (campaign_id) WHERE (doubt_at IS NOT NULL);
CREATE INDEX ix_attempt_poll ON public.attempt USING btree (account, poll_at) WHERE (poll_at IS NOT NULL);
CREATE INDEX ix_attempt_polled ON public.attempt USING btree (campaign_id) WHERE (poll_at IS NOT NULL);
CREATE INDEX ix_attempt_reconcile ON public.attempt USING btree (account, reconcile_at) WHERE (reconcile_at IS NOT NULL);
CREATE INDEX ix_batch_in_flight ON public.batch USING btree (account) WHERE (state = ANY (ARRAY[1, 2, 3]));
CREATE INDEX ix_batch_open ON public.batch USING btree (campaign_id) WHERE (state < 4);
CREATE INDEX ix_batch_pending ON public.batch USING btree (campaign_id, seq) WHERE (state = 0);
CREATE INDEX ix_campaign_content ON public.campaign USING btree (content_key);
CREATE INDEX ix_campaign_name ON public.campaign USING btree (name);
CREATE INDEX ix_campaign_open ON public.campaign USING btree (state) WHERE (finished_at IS NULL);
