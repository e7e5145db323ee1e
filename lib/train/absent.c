/* absent.c - the functions of train.h in a library without training: they refuse, by name. */
#include "base/base.h"
#include "smallmind/train.h"

static sm_status absent(const char *function, sm_error *error) {
    return sm_fail(error, SM_ERR_UNSUPPORTED,
                   "%s: this library was built without training (-Dtrain=disabled)", function);
}

sm_status sm_trainer_open(sm_trainer **out, const char *model_path,
                          const sm_trainer_options *options, sm_error *error) {
    (void)model_path, (void)options;
    if (out)
        *out = NULL;
    return absent("sm_trainer_open", error);
}

void sm_trainer_free(sm_trainer *trainer) {
    (void)trainer;
}

sm_status sm_trainer_get_info(const sm_trainer *trainer, sm_trainer_info *info, sm_error *error) {
    (void)trainer, (void)info;
    return absent("sm_trainer_get_info", error);
}

uint64_t sm_trainer_steps_left(const sm_trainer *trainer) {
    (void)trainer;
    return 0;
}

sm_status sm_trainer_step(sm_trainer *trainer, sm_train_metrics *metrics, sm_error *error) {
    (void)trainer, (void)metrics;
    return absent("sm_trainer_step", error);
}

sm_status sm_trainer_train(sm_trainer *trainer, uint64_t steps, sm_train_step_fn on_step,
                           void *user, sm_error *error) {
    (void)trainer, (void)steps, (void)on_step, (void)user;
    return absent("sm_trainer_train", error);
}

sm_status sm_trainer_set_cancel(sm_trainer *trainer, sm_cancel_fn cancel, void *user,
                                sm_error *error) {
    (void)trainer, (void)cancel, (void)user;
    return absent("sm_trainer_set_cancel", error);
}

sm_status sm_trainer_evaluate(sm_trainer *trainer, sm_train_evaluation *result, sm_error *error) {
    (void)trainer, (void)result;
    return absent("sm_trainer_evaluate", error);
}

sm_status sm_trainer_save(sm_trainer *trainer, const char *path, sm_error *error) {
    (void)trainer, (void)path;
    return absent("sm_trainer_save", error);
}

sm_status sm_trainer_resume(sm_trainer *trainer, const char *path, sm_error *error) {
    (void)trainer, (void)path;
    return absent("sm_trainer_resume", error);
}

sm_status sm_checkpoint_get_info(const char *path, sm_checkpoint_info *info, sm_error *error) {
    (void)path, (void)info;
    return absent("sm_checkpoint_get_info", error);
}

sm_status sm_checkpoint_get_options(const char *path, sm_trainer_options *options,
                                    const char **model_path, char *text, uint64_t capacity,
                                    uint64_t *needed, sm_error *error) {
    (void)path, (void)options, (void)model_path, (void)text, (void)capacity, (void)needed;
    return absent("sm_checkpoint_get_options", error);
}

sm_status sm_trainer_export(sm_trainer *trainer, const char *path, const sm_export_options *options,
                            sm_error *error) {
    (void)trainer, (void)path, (void)options;
    return absent("sm_trainer_export", error);
}

sm_status sm_trainer_export_adapter(sm_trainer *trainer, const char *path, sm_error *error) {
    (void)trainer, (void)path;
    return absent("sm_trainer_export_adapter", error);
}
