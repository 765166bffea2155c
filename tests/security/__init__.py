"""What is tried against the installation, with the answer that it must give and the tests that see to it.

Each line without an indent is a request with its answer; below it stand its tests, as module::test.

start in production mode with DEBUG, an example or missing SECRET_KEY, or `ALLOWED_HOSTS=*`: refuses to
  start, and says which setting
    hetuflow/test_production::test_a_server_with_an_unsafe_setting_ends_at_once_and_names_it
    hetuflow/test_production::test_the_key_in_our_own_documentation_is_refused
every `/api` URL (walked from the resolver) without credentials: 401, except the documented open ones
    security/test_doors::test_every_path_is_a_401_without_valid_credentials
socket with a missing, wrong, revoked token; a browser cookie on the agent socket; a foreign Origin on a
  browser socket: 403 before accept
    gateway/test_authentication::test_every_cause_of_refusal_gets_the_same_403
    gateway/test_origins::test_a_logged_in_browser_gets_nothing_on_the_agents_socket
    gateway/test_origins::test_a_socket_for_browsers_is_for_our_own_pages
token columns in a dump: SHA-256 of at least 256 random bits, shown once at creation
    security/test_secrets_at_rest::test_no_table_holds_a_secret_or_a_piece_of_one
    security/test_secrets_at_rest::test_what_is_stored_of_a_secret_is_its_sha_256_and_nothing_else
    access/test_tokens::test_a_token_has_256_random_bits_of_which_the_digest_is_stored
one-time enrolment token used twice at once: exactly one succeeds
    agents/test_enrollment::test_of_two_machines_with_one_token_at_once_exactly_one_gets_in
agent A reports on B's attempt: nothing changes, close 1008, an audit entry
    gateway/test_reports::test_an_agent_that_reports_on_anothers_attempt_changes_nothing_and_is_disconnected
a user of one namespace on every object of another (walked from the resolver): 404, absent from lists
    access/test_permission_walk::test_everybody_may_what_the_matrix_says_and_nothing_else
    hetuflow/test_admin_permissions::test_no_page_at_all_tells_of_another_namespace
writes to `status`, `created_by`, tokens, ids through create and update: 400, nothing changed
    security/test_read_only_fields::test_what_is_not_the_callers_to_write_is_a_400_and_changes_nothing
session POST without CSRF token: 403
    security/test_doors::test_a_session_without_csrf_token_writes_nothing_by_any_path
every GET, with the database compared before and after: nothing changed
    security/test_reading::test_no_read_of_rest_writes
    security/test_reading::test_no_page_of_the_admin_writes_when_it_is_opened
arguments with `; rm`, `$(x)`, newlines: passed as they are, no shell unless `cmd` is a shell
    e2e/test_secrecy::test_arguments_reach_a_command_as_they_are_and_no_shell_reads_them
    e2e/test_secrecy::test_an_argument_with_nul_is_refused_wherever_it_comes_in
environment names such as `LD_PRELOAD`, `PATH`, `BASH_ENV`, `HETUFLOW_*`: 400 unless an admin allowed them
    security/test_environment::test_every_door_refuses_it
    security/test_environment::test_who_runs_the_server_may_allow_a_name
output with `<script>`, terminal escapes, right-to-left override, in the admin and the API: shown as text;
  CSP without `unsafe-inline` for scripts; raw download `text/plain`, `nosniff`
    scheduling/test_admin_instances::test_hostile_messages_and_results_are_shown_as_text_on_every_page
    browser/test_output::test_output_is_followed_as_it_is_written_and_hostile_text_stays_text
    scheduling/test_instances_api::test_hostile_output_is_sent_as_text_that_no_browser_takes_for_a_page
    hetuflow/test_pages::test_no_policy_lets_a_page_run_its_own_scripts_or_evaluate_text
JSON 100,000 deep, 10 MB, NaN, duplicate keys, NUL, lone surrogate: 400 or 413
    security/test_json::test_every_path_refuses_it
    security/test_json::test_every_path_refuses_ten_megabytes
    gateway/test_hostile_frames::test_hostile_json_ends_its_own_session_and_changes_nothing
cron `0 0 30 2 *`, 4 KiB of list, `*/0`: 400 within 50 ms
    security/test_recurrences::test_an_expression_that_never_comes_true_is_a_400_at_once
`limit=1e9`, `order_bys=password`, a filter over relations: 400
    security/test_queries::test_a_page_is_bounded
    security/test_queries::test_what_is_no_field_is_neither_filter_nor_order
1,000 logins a minute: 429, no difference between known and unknown names
    access/test_rates::test_the_twenty_first_password_within_a_minute_is_not_looked_at
    access/test_rates::test_a_name_that_exists_is_refused_like_one_that_does_not
the environment of a running command: holds neither the agent's token nor the database URL
    e2e/test_secrecy::test_no_secret_is_in_the_environment_of_a_command_or_of_any_process_of_the_agent
    e2e/test_enrollment::test_no_command_finds_a_token_in_any_process
"""
